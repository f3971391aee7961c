package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

type keyChangeCmd struct {
	Without []string `placeholder:"NODE,NODE" help:"Nodes that are away and will have to join anew."`
}

// Run changes the key in three steps on all nodes; at each all understand each
// other.
func (k *keyChangeCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.ChangeKey(a.ctx, k.Without)
	if err != nil {
		return err
	}
	return a.showKeys(v, "the cluster key was changed; all nodes have the new one")
}

type keyShowCmd struct{}

func (*keyShowCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.Keys(a.ctx)
	if err != nil {
		return err
	}
	return a.showKeys(v, "")
}

func (a *app) showKeys(v admin.KeyAnswer, text string) error {
	v.API = cli.API
	return a.print(v, func(w io.Writer) {
		if text != "" {
			fmt.Fprintln(w, text)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NODE\tSEALS WITH\tACCEPTS TOO")
		for _, n := range v.Nodes {
			switch {
			case !n.Reached || len(n.Pins) == 0:
				fmt.Fprintf(t, "%s\tnot reached\t\n", safe(n.Name))
			default:
				fmt.Fprintf(t, "%s\t%s\t%s\n", safe(n.Name), safe(n.Pins[0]), safe(strings.Join(n.Pins[1:], " ")))
			}
		}
		_ = t.Flush() // w is a buffer
	})
}
