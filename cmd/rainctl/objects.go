package main

import (
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/client"
	"rain/snow/admin"
	"rain/store"
)

// split reads B/KEY.
func split(s string) (bucket, key string, err error) {
	bucket, key, _ = strings.Cut(s, "/")
	if bucket == "" || key == "" {
		return "", "", usage("%q: want BUCKET/KEY", s)
	}
	return bucket, key, nil
}

func (a *app) printObject(o admin.ObjectAnswer) error {
	return a.print(o, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, l := range [][2]any{
			{"bucket", safe(o.Bucket)}, {"key", safe(o.Key)}, {"version", o.Version}, {"etag", o.ETag}, {"sha256", o.SHA256},
			{"size_bytes", o.Size}, {"content_type", safe(o.ContentType)}, {"modified", o.Modified.Format("2006-01-02 15:04:05Z07:00")},
			{"n", o.N}, {"k", o.K}, {"stored", o.Stored}, {"survives", o.Survives},
		} {
			fmt.Fprintf(t, "%s\t%v\n", l[0], l[1])
		}
		_ = t.Flush() // w is a buffer
	})
}

type putCmd struct {
	Src            string `arg:"" name:"file" help:"File, or - for stdin."`
	Object         string `arg:"" name:"b/key" help:"Bucket and key."`
	IfMatch        string `placeholder:"ETAG" xor:"if" help:"Only if the object has this ETag."`
	IfAbsent       bool   `xor:"if" help:"Only if there is no such object."`
	IdempotencyKey string `placeholder:"K" help:"Names this put: a repeat gets the first one's answer."`
	Type           string `help:"Content type; else by the name."`
}

func (p *putCmd) Run(a *app) error {
	bucket, key, err := split(p.Object)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	opt := client.PutOptions{ContentType: p.Type, IfMatch: etag(p.IfMatch), IfAbsent: p.IfAbsent, IdempotencyKey: p.IdempotencyKey}
	if opt.ContentType == "" {
		opt.ContentType = mime.TypeByExtension(filepath.Ext(key))
	}
	var body io.Reader
	length := int64(-1)
	if p.Src == "-" {
		body = io.MultiReader(a.stdin) // hides Seek: a pipe can be read only once
	} else {
		f, info, err := openFile(p.Src)
		if err != nil {
			return err
		}
		defer f.Close()
		if info.Mode().IsRegular() {
			body, length = f, info.Size()
		} else {
			body = io.MultiReader(f)
		}
	}
	o, err := c.Put(a.ctx, bucket, key, body, length, opt)
	if err != nil {
		return err
	}
	return a.printObject(o)
}

// etag gives a tag the quotes that a shell has eaten.
func etag(s string) string {
	if s == "" || s == "*" || strings.HasSuffix(s, `"`) {
		return s
	}
	return `"` + s + `"`
}

type getCmd struct {
	Object string `arg:"" name:"b/key" help:"Bucket and key."`
	Dst    string `arg:"" optional:"" default:"-" name:"file" help:"File, or - for stdout."`
	Range  string `placeholder:"A-B" help:"Only these bytes, counted from 0; A- and -N work, too."`
}

func (g *getCmd) Run(a *app) (err error) {
	bucket, key, err := split(g.Object)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	o, err := c.Get(a.ctx, bucket, key, g.Range)
	if err != nil {
		return err
	}
	defer func() { _ = o.Body.Close() }()
	if g.Range != "" && !o.Partial {
		return usage("--range %q is no range of bytes: want A-B, A- or -N", g.Range)
	}
	if g.Dst == "-" {
		return copyBody(a.stdout, o)
	}
	n, err := a.getFile(o, g.Dst)
	if err != nil {
		return err
	}
	v := struct {
		API  int    `json:"api"`
		File string `json:"file"`
		Size int64  `json:"size_bytes"`
		ETag string `json:"etag"`
	}{cli.API, g.Dst, n, o.ETag}
	return a.print(v, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", g.Dst, size(n)) })
}

// getFile writes to a temporary name first: a file of that name is always whole.
func (a *app) getFile(o *client.Object, dst string) (n int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(dst), ".rainctl-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err = copyBody(f, o); err != nil {
		return 0, err
	}
	if n, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	if err = f.Close(); err != nil {
		return 0, err
	}
	return n, os.Rename(f.Name(), dst)
}

func copyBody(w io.Writer, o *client.Object) error {
	n, err := io.Copy(w, o.Body)
	if err != nil {
		return cli.New(cli.Unavailable, "cut_short", "try again", "the body ended after %d of %d bytes: %w", n, o.Size, err)
	}
	return nil
}

type statCmd struct {
	Object string `arg:"" name:"b/key" help:"Bucket and key."`
}

func (s *statCmd) Run(a *app) error {
	bucket, key, err := split(s.Object)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	o, err := c.Stat(a.ctx, bucket, key)
	if err != nil {
		return err
	}
	return a.printObject(o)
}

type rmCmd struct {
	Object  string `arg:"" name:"b/key" help:"Bucket and key."`
	IfMatch string `placeholder:"ETAG" help:"Only if the object has this ETag."`
}

func (r *rmCmd) Run(a *app) error {
	bucket, key, err := split(r.Object)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Delete(a.ctx, bucket, key, etag(r.IfMatch)); err != nil {
		return err
	}
	return a.done("deleted %s", safe(r.Object))
}

type lsCmd struct {
	Where string `arg:"" optional:"" name:"b/prefix" help:"Bucket, and the beginning of the keys."`
	After string `placeholder:"KEY" help:"Only keys behind this one."`
	Limit int    `help:"At most so many; 0 is all."`
}

func (l *lsCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if l.Where == "" {
		names, err := c.Buckets(a.ctx)
		if err != nil {
			return err
		}
		return a.print(admin.BucketsAnswer{API: cli.API, Buckets: names}, func(w io.Writer) {
			for _, n := range names {
				fmt.Fprintln(w, safe(n))
			}
		})
	}
	if l.Limit < 0 {
		return usage("--limit %d: must not be negative", l.Limit)
	}
	bucket, prefix, _ := strings.Cut(l.Where, "/")
	all := admin.ListAnswer{API: cli.API, Bucket: bucket, Objects: []store.Info{}}
	for after := l.After; ; after = all.Next {
		part, err := c.List(a.ctx, bucket, prefix, after, max(0, l.Limit-len(all.Objects)))
		if err != nil {
			return err
		}
		all.Objects = append(all.Objects, part.Objects...)
		all.Next = part.Next
		if all.Next == "" || l.Limit > 0 && len(all.Objects) >= l.Limit {
			break
		}
	}
	return a.print(all, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, o := range all.Objects {
			fmt.Fprintf(t, "%s\t%s\t%s\tv%d\tsurvives %d\n", safe(o.Key), size(o.Size), o.Modified.Format("2006-01-02 15:04:05Z07:00"), o.Version, o.Survives)
		}
		_ = t.Flush() // w is a buffer
		if all.Next != "" {
			fmt.Fprintf(w, "more with --after %s\n", safe(all.Next))
		}
	})
}
