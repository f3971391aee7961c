package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

type inviteCmd struct {
	New    inviteNewCmd    `cmd:"" default:"withargs" help:"Make an invitation (the default)."`
	Ls     inviteLsCmd     `cmd:"" help:"List the invitations that have not expired."`
	Revoke inviteRevokeCmd `cmd:"" help:"Take an invitation back."`
}

type inviteNewCmd struct {
	Name string        `help:"Name of the node that it is for; else it chooses."`
	For  time.Duration `default:"1h" help:"How long it holds, at most a week."`
}

func (i *inviteNewCmd) Run(a *app) error {
	if i.For < time.Second {
		return usage("--for %v: at least 1s", i.For)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.Invite(a.ctx, admin.InviteOrder{Name: i.Name, ValidS: int64(i.For / time.Second)})
	if err != nil {
		return err
	}
	return a.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n", safe(v.Token))
		fmt.Fprintf(a.stderr, "\nOn the new box, before %s:\n\n  rainctl join INVITATION DIR\n\nIt lets in one node. Carry it by a safe way: who has it can use it. Key of cluster %s: %s\n",
			v.Expires.Local().Format(time.DateTime), safe(v.Cluster), safe(v.Pin))
	})
}

type inviteLsCmd struct{}

func (*inviteLsCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.Invitations(a.ctx)
	if err != nil {
		return err
	}
	v.API = cli.API
	return a.print(v, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "INVITATION\tFOR\tBY\tUNTIL\tSTATE\tNODE")
		for _, x := range v.Invitations {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", safe(x.ID), orDash(x.Name), safe(x.By), x.Expires.Local().Format(time.DateTime), safe(x.State), orDash(x.Node))
		}
		_ = t.Flush() // w is a buffer
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return safe(s)
}

type inviteRevokeCmd struct {
	ID string `arg:"" name:"invitation" help:"Its id, as 'invite ls' shows it."`
}

func (i *inviteRevokeCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Revoke(a.ctx, i.ID); err != nil {
		return err
	}
	return a.done("invitation %s is taken back", safe(i.ID))
}
