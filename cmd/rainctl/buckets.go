package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

type bucketCmd struct {
	Create bucketCreateCmd `cmd:"" help:"Make a bucket."`
	Ls     bucketLsCmd     `cmd:"" help:"List the buckets, their codes and demands."`
	Info   bucketInfoCmd   `cmd:"" help:"Describe a bucket."`
}

type bucketCreateCmd struct {
	Name        string `arg:"" help:"Name of the bucket."`
	Code        string `placeholder:"N,K" default:"auto" help:"Larger objects lie on N nodes, any K of which give them back; auto: by the number of storage nodes."`
	MinSurvives int    `placeholder:"S" help:"Refuse a put that would survive the loss of fewer than S nodes at once."`
}

func (b *bucketCreateCmd) Run(a *app) error {
	o := admin.BucketOrder{Code: b.Code, MinSurvives: b.MinSurvives}
	if _, err := o.Spec(); err != nil {
		return usage("--code %s: want N,K with 1 <= K <= N <= 32, or auto", b.Code)
	}
	if b.MinSurvives < 0 {
		return usage("--min-survives %d: must not be negative", b.MinSurvives)
	}
	if b.Code == "auto" {
		o.Code = "" // what older nodes understand, too
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.MakeBucket(a.ctx, b.Name, o)
	if err != nil {
		return err
	}
	v.API, v.Bucket = cli.API, b.Name
	return a.print(v, func(w io.Writer) {
		if v.Created {
			fmt.Fprintf(w, "made bucket %s", safe(b.Name))
		} else {
			fmt.Fprintf(w, "bucket %s was there", safe(b.Name))
		}
		if i := v.BucketInfo; i != nil {
			fmt.Fprintf(w, ": code %d,%d, min_survives %d", i.N, i.K, i.MinSurvives)
		}
		fmt.Fprintln(w)
	})
}

type bucketLsCmd struct{}

func (*bucketLsCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.BucketInfos(a.ctx)
	if err != nil {
		return err
	}
	v.API = cli.API
	return a.print(v, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "BUCKET\tCODE\tOF\tMIN SURVIVES\tOBJECTS")
		for _, i := range v.Infos {
			of := "the cluster"
			if i.Own {
				of = "the bucket"
			}
			fmt.Fprintf(t, "%s\t%d,%d\t%s\t%d\t%d\n", safe(i.Name), i.N, i.K, of, i.MinSurvives, i.Objects)
		}
		_ = t.Flush() // w is a buffer
	})
}

type bucketInfoCmd struct {
	Name string `arg:"" help:"Name of the bucket."`
}

func (b *bucketInfoCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := c.BucketInfos(a.ctx)
	if err != nil {
		return err
	}
	for _, i := range all.Infos {
		if i.Name != b.Name {
			continue
		}
		v := admin.BucketAnswer{API: cli.API, Bucket: i.Name, BucketInfo: &i}
		return a.print(v, func(w io.Writer) {
			fmt.Fprintf(w, "%s: code %d,%d, min_survives %d, %d objects\n", safe(i.Name), i.N, i.K, i.MinSurvives, i.Objects)
		})
	}
	return cli.New(cli.NotFound, "no_bucket", "see 'rainctl bucket ls'", "there is no bucket %q", b.Name)
}
