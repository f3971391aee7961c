package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

type linksCmd struct {
	History bool `help:"Also what happened on each path, the last 1,000 changes."`
}

// linksAnswer is the JSON of rainctl links: the paths of all nodes that
// answered, and what each node said.
type linksAnswer struct {
	API   int                 `json:"api"`
	Links []admin.LinkPath    `json:"links"`
	Nodes []admin.LinksAnswer `json:"nodes"`
}

func (l *linksCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	nodes, err := c.Links(a.ctx, l.History)
	if err != nil {
		return err
	}
	v := linksAnswer{API: cli.API, Links: []admin.LinkPath{}, Nodes: nodes}
	for _, n := range nodes {
		v.Links = append(v.Links, n.Links...)
	}
	return a.print(v, func(w io.Writer) {
		showMatrix(w, nodes)
		showPaths(w, v.Links, time.Now())
		if l.History {
			showHistory(w, v.Links)
		}
	})
}

// showMatrix draws who reaches whom: paths up of paths, the best round trip, and
// the relay where there is no other way. Rows of nodes that did not answer are
// what their neighbours were told by them.
func showMatrix(w io.Writer, nodes []admin.LinksAnswer) {
	type cell struct{ from, to string }
	cells := map[cell]string{}
	var names []string
	name := func(s string) {
		if !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	for _, n := range nodes {
		for _, x := range n.Neighbours {
			cells[cell{x.From, x.To}] = fmt.Sprintf("%d/%d", x.Up, x.Paths)
			name(x.From)
			name(x.To)
		}
	}
	for _, n := range nodes {
		name(n.Node)
		for _, x := range pairs(n) {
			name(x.to)
			cells[cell{n.Node, x.to}] = x.text
		}
	}
	slices.Sort(names)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "FROM \\ TO")
	for _, to := range names {
		fmt.Fprint(t, "\t", safe(to))
	}
	fmt.Fprintln(t)
	for _, from := range names {
		fmt.Fprint(t, safe(from))
		for _, to := range names {
			text := cells[cell{from, to}]
			switch {
			case from == to:
				text = "-"
			case text == "":
				text = "?"
			}
			fmt.Fprint(t, "\t", text)
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintln(t)
	_ = t.Flush() // w is a buffer
}

type pairText struct{ to, text string }

// pairs sums up a node's own paths by peer.
func pairs(n admin.LinksAnswer) (out []pairText) {
	for i := 0; i < len(n.Links); {
		to := n.Links[i].B
		up, all, best := 0, 0, int64(-1)
		for ; i < len(n.Links) && n.Links[i].B == to; i++ {
			all++
			if l := n.Links[i]; l.State == "up" {
				up++
				if best < 0 || l.RTTUS < best {
					best = l.RTTUS
				}
			}
		}
		text := fmt.Sprintf("%d/%d", up, all)
		if up > 0 {
			text += fmt.Sprintf(" %dus", best)
		}
		for _, r := range n.Relays {
			if r.To == to && r.Only {
				text += " by " + safe(strings.Join(r.Via, "+"))
			}
		}
		out = append(out, pairText{to, text})
	}
	return out
}

func showPaths(w io.Writer, links []admin.LinkPath, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "A\tB\tLINK\tSTATE\tRTT\tLOSS\tTRANSITIONS\tSINCE\tPING EVERY")
	for _, l := range links {
		state := safe(l.State)
		if l.Flaps {
			state += " (flaps)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d us\t%.1f %%\t%d\t%s\t%d ms\n",
			safe(l.A), safe(l.B), safe(l.Link.Link), state, l.RTTUS, l.Loss*100, l.Transitions, ago(now, l.Since), l.PingEveryMS)
	}
	_ = t.Flush() // w is a buffer
}

func showHistory(w io.Writer, links []admin.LinkPath) {
	for _, l := range links {
		fmt.Fprintf(w, "\n%s to %s, %s\n", safe(l.A), safe(l.B), safe(l.Link.Link))
		for _, h := range l.History {
			fmt.Fprintf(w, "  %s  %4d  %-4s  %s\n", h.At.Local().Format("2006-01-02 15:04:05.000"), h.Count, safe(h.State), safe(h.Cause))
		}
	}
}
