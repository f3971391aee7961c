package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/client"
	"rain/snow/admin"
	"rain/snow/site"
)

type nodeCmd struct {
	Drain   drainCmd   `cmd:"" help:"Hand over what a node holds, so that it can be stopped."`
	Undrain undrainCmd `cmd:"" help:"Take a node back into service."`

	Leave   leaveCmd       `cmd:"" help:"Take a node out of the cluster for good: its content moves, it hands over and ends."`
	Forget  forgetCmd      `cmd:"" help:"Take a dead node off the list for good."`
	Replace replaceNodeCmd `cmd:"" help:"Put a new node into a dead one's place."`
}

type drainCmd struct {
	Node string `arg:"" help:"Name of the node."`
}

func (d *drainCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Drain(a.ctx, d.Node); err != nil {
		return err
	}
	return a.done("%s drains", safe(d.Node))
}

type undrainCmd struct {
	Node string `arg:"" help:"Name of the node."`
}

func (d *undrainCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Undrain(a.ctx, d.Node); err != nil {
		return err
	}
	return a.done("%s is back in service", safe(d.Node))
}

type vipCmd struct {
	Move vipMoveCmd `cmd:"" help:"Make a node hold an address."`
}

type vipMoveCmd struct {
	Addr string `arg:"" help:"The address."`
	Node string `arg:"" help:"Name of its new holder."`
}

func (v *vipMoveCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.MoveVIP(a.ctx, v.Addr, v.Node); err != nil {
		return err
	}
	return a.done("%s moves to %s", safe(v.Addr), safe(v.Node))
}

type siteCmd struct {
	Publish  publishCmd  `cmd:"" help:"Make a folder the site of a host, at once on all nodes."`
	Ls       sitesCmd    `cmd:"" help:"List the sites."`
	Rollback rollbackCmd `cmd:"" help:"Serve an older version again."`
	Rm       siteRmCmd   `cmd:"" help:"Take a site off."`
}

type publishCmd struct {
	Dir     string `arg:"" help:"The folder."`
	Host    string `arg:"" help:"The host name that it answers to."`
	Default bool   `help:"Answer all hosts that no site has."`
}

func (p *publishCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	root, err := os.OpenRoot(p.Dir) // links can't lead out of it
	if err != nil {
		return &cli.Error{Exit: cli.BadInput, Code: "bad_folder", Err: err}
	}
	defer root.Close()
	r, err := c.PublishSite(a.ctx, p.Host, root.FS(), p.Default)
	if err != nil {
		var ce *client.Error
		var pe *fs.PathError
		if !errors.As(err, &ce) && (errors.As(err, &pe) || strings.Contains(err.Error(), "publish")) && a.ctx.Err() == nil {
			return &cli.Error{Exit: cli.BadInput, Code: "bad_folder", Err: err}
		}
		return err
	}
	if n := len(r.Skipped); n > 0 {
		fmt.Fprintf(a.stderr, "rainctl: %d hidden files and folders were left out, first %s\n", n, safe(r.Skipped[0]))
	}
	return a.print(struct {
		API int `json:"api"`
		client.Published
	}{cli.API, r}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: version %d, %d files, %s sent\n", safe(r.Host), r.Version, r.Files, size(r.SentBytes))
	})
}

type sitesCmd struct{}

func (*sitesCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	sites, err := c.Sites(a.ctx)
	if err != nil {
		return err
	}
	return a.print(admin.SitesAnswer{API: cli.API, Sites: sites}, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "HOST\tVERSION\tFILES\tKEPT VERSIONS\tDEFAULT")
		for _, s := range sites {
			var kept []string
			for _, v := range s.Versions {
				kept = append(kept, fmt.Sprint(v.Version))
			}
			def := ""
			if s.Default {
				def = "default"
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\n", safe(s.Host), s.Version, s.Files, strings.Join(kept, " "), def)
		}
		_ = t.Flush() // w is a buffer
	})
}

type rollbackCmd struct {
	Host    string `arg:"" help:"The site."`
	Version uint64 `arg:"" optional:"" help:"The version; else the one before the current one."`
}

func (r *rollbackCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	res, err := c.RollbackSite(a.ctx, r.Host, r.Version)
	if err != nil {
		return err
	}
	return a.print(struct {
		API int `json:"api"`
		site.Result
	}{cli.API, res}, func(w io.Writer) { fmt.Fprintf(w, "%s: version %d\n", safe(res.Host), res.Version) })
}

type siteRmCmd struct {
	Host string `arg:"" help:"The site."`
}

func (r *siteRmCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.RemoveSite(a.ctx, r.Host); err != nil {
		return err
	}
	return a.done("removed %s", safe(r.Host))
}

type keyCmd struct {
	Change keyChangeCmd `cmd:"" help:"Change the cluster key while all runs."`
	Show   keyShowCmd   `cmd:"" help:"Which key each node seals with and which it accepts, by names that tell nothing of them."`

	New keyNewCmd `cmd:"" help:"Make a new secret: 32 random bytes in base64, for a cluster key or a token file."`
}

type keyNewCmd struct {
	File string `arg:"" help:"Where to write it; must not exist."`
}

func (k *keyNewCmd) Run(a *app) error {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	f, err := os.OpenFile(k.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return cli.New(cli.Conflict, "exists", "remove it first if it is not in use", "%s is there already; a key is never overwritten", k.File)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(b) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("rainctl: write %s: %w", k.File, err)
	}
	return a.print(struct {
		API  int    `json:"api"`
		File string `json:"file"`
	}{cli.API, k.File}, func(w io.Writer) { fmt.Fprintf(w, "wrote a new key to %s; keep it secret\n", k.File) })
}

type fileCmd struct{}

func (*fileCmd) Run(a *app) error {
	if _, err := a.clusterFile(); err != nil {
		return err
	}
	b, err := os.ReadFile(a.clusterPath())
	if err != nil {
		return fmt.Errorf("rainctl: %w", err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("rainctl: %w", err)
	}
	v["api"] = cli.API
	return a.print(v, func(w io.Writer) { fmt.Fprintf(w, "%s\n", strings.TrimSpace(string(b))) })
}

type versionCmd struct{}

func (*versionCmd) Run(a *app) error {
	v := cli.BuildVersion("rainctl")
	return a.print(v, func(w io.Writer) { fmt.Fprintln(w, v) })
}
