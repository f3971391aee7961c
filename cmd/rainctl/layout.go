package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

type layoutCmd struct {
	Show    layoutShowCmd    `cmd:"" help:"Who stores what, what is under way, and for how long yet."`
	Add     layoutAddCmd     `cmd:"" help:"Make a node a storage node: new objects use it."`
	Remove  layoutRemoveCmd  `cmd:"" help:"Take a node off: its symbols move to others, where there are spares."`
	Replace layoutReplaceCmd `cmd:"" help:"Put a new node into an old one's place."`
}

type layoutShowCmd struct{}

func (*layoutShowCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.Layout(a.ctx)
	if err != nil {
		return err
	}
	v.API = cli.API
	return a.print(v, func(w io.Writer) { showLayout(w, v) })
}

func showLayout(w io.Writer, v admin.LayoutAnswer) {
	after := time.Duration(v.RebuildAfterS) * time.Second
	if v.Version == 0 {
		fmt.Fprintf(w, "no layout was set: founders and members store; who stays away for %v is rebuilt on spares\n", after)
	} else {
		fmt.Fprintf(w, "layout of version %d; who stays away for %v is rebuilt on spares\n", v.Version, after)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tID\tROLE\tSTATE\tSYMBOLS\tSTORED\tUNDER WAY")
	for _, n := range v.Nodes {
		state := n.State
		if n.State == "down" && n.AwayS > 0 {
			state += " for " + (time.Duration(n.AwayS) * time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", safe(n.Name), safe(n.ID), safe(n.Role), state, n.Symbols, size(n.Bytes), underWay(n))
	}
	_ = t.Flush() // w is a buffer
}

// underWay says in words what happens to a node's symbols.
func underWay(n admin.LayoutNode) string {
	s := ""
	add := func(format string, args ...any) {
		if s != "" {
			s += "; "
		}
		s += fmt.Sprintf(format, args...)
	}
	if n.Missing != nil && *n.Missing > 0 {
		add("%d symbols (%s) to come", *n.Missing, size(n.MissingB))
		if n.State == "up" {
			s += fmt.Sprintf(", about %d s", n.ETAS)
		}
	}
	if n.Moving > 0 {
		add("%d symbols (%s) go to others", n.Moving, size(n.MovingB))
	}
	if n.Stuck > 0 {
		add("%d symbols stay, as no node is free: add one, or 'rainctl store rewrite BUCKET'", n.Stuck)
	}
	if n.RebuildInS != nil && n.Role == "storage" && n.Symbols > 0 {
		add("rebuilt on spares in %v", time.Duration(*n.RebuildInS)*time.Second)
	}
	if n.Heir != "" {
		add("replaced by %s", safe(n.Heir))
	}
	if s == "" {
		return "-"
	}
	return s
}

type layoutAddCmd struct {
	Node string `arg:"" help:"Name of the node."`
}

func (l *layoutAddCmd) Run(a *app) error {
	return a.changeLayout("add", l.Node, "", "%s is a storage node", safe(l.Node))
}

type layoutRemoveCmd struct {
	Node string `arg:"" help:"Name of the node."`
}

func (l *layoutRemoveCmd) Run(a *app) error {
	return a.changeLayout("remove", l.Node, "", "%s is off the layout; 'rainctl layout show' tells how its symbols move", safe(l.Node))
}

type layoutReplaceCmd struct {
	Old string `arg:"" help:"Name of the node that goes."`
	New string `arg:"" help:"Name of the node that takes its place."`
}

func (l *layoutReplaceCmd) Run(a *app) error {
	return a.changeLayout("replace", l.Old, l.New, "%s takes the place of %s; 'rainctl layout show' tells how the symbols move", safe(l.New), safe(l.Old))
}

func (a *app) changeLayout(verb, node, by, said string, args ...any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.ChangeLayout(a.ctx, verb, node, by); err != nil {
		return err
	}
	return a.done(said, args...)
}
