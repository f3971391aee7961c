package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

type quorumCmd struct{}

func (*quorumCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.Quorum(a.ctx)
	if err != nil {
		return err
	}
	return a.print(v, func(w io.Writer) { showQuorum(w, v) })
}

func showQuorum(w io.Writer, v admin.QuorumAnswer) {
	fmt.Fprintln(w, safe(v.Text))
	if len(v.Members) == 0 {
		return
	}
	settled := "settled"
	if !v.Settled {
		settled = "not settled yet"
	}
	with := safe(v.Distinguished)
	if with == "" {
		with = "whom the witness will name"
	}
	fmt.Fprintf(w, "view %d as %s sees it, %s; policy %s; %d of %d are a quorum, exactly half with %s\n\n", v.View, safe(v.Node), settled, safe(v.Policy), v.Need, len(v.Members), with)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSTATE\tIN SINCE VIEW\tMAY DIE NOW\tTHEN MAY DIE")
	for _, m := range v.Members {
		may, then := "no", "-"
		if m.MayDie {
			may = "yes"
			if then = safe(strings.Join(m.Then, ", ")); then == "" {
				then = "nobody"
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", safe(m.Name), safe(m.State), m.Since, may, then)
	}
	_ = t.Flush() // w is a buffer
}

type bootstrapCmd struct {
	Node  string `arg:"" help:"The node whose disk decides: the one that was up last."`
	Force bool   `help:"Yes, I have read what it risks."`
}

// risks is what an operator must know before a forced start.
const risks = `A forced start lets the disk of %[1]s alone decide what the cluster is.
  - What was confirmed by others and is not on that disk is lost: objects, sites, outcomes of requests.
  - If other nodes still run somewhere, out of its sight, there will be two clusters with the same
    addresses. Be sure that they are off, or cut from the network, before you go on.
  - The other nodes lose what they have more, when they come back and join.
Choose the node that was up last ('rainctl ring quorum' on each, the highest view). Then:
  rainctl ring bootstrap %[1]s --force
`

func (b *bootstrapCmd) Run(a *app) error {
	if !b.Force {
		fmt.Fprintf(a.stderr, risks, safe(b.Node))
		return cli.New(cli.Conflict, "needs_force", "read the above, then say --force", "nothing was done")
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Bootstrap(a.ctx, b.Node); err != nil {
		return err
	}
	return a.done("%s starts the cluster from its own disk; look at 'rainctl status' and at what is missing", safe(b.Node))
}
