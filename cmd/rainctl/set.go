package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"rain/cmd/internal/cli"
)

type setCmd struct {
	Key   string  `arg:"" optional:"" help:"detection, or vip.pool.NAME. None: all are shown."`
	Value *string `arg:"" optional:"" help:"The new value: conservative or aggressive; addresses with commas between."`
	Unset bool    `help:"Take a pool of addresses away."`
}

func (s *setCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case s.Unset && (s.Key == "" || s.Value != nil):
		return usage("--unset goes with a key and no value")
	case s.Unset:
		if err := c.Unset(a.ctx, s.Key); err != nil {
			return err
		}
		return a.done("%s is no more", safe(s.Key))
	case s.Value != nil:
		if err := c.Set(a.ctx, s.Key, *s.Value); err != nil {
			return err
		}
		return a.done("%s is %s, on all nodes", safe(s.Key), safe(*s.Value))
	}
	v, err := c.Settings(a.ctx)
	if err != nil {
		return err
	}
	if s.Key != "" {
		for _, x := range v.Settings {
			if x.Key == s.Key {
				v.Settings = append(v.Settings[:0:0], x)
				break
			}
		}
		if len(v.Settings) != 1 {
			return cli.New(cli.NotFound, "no_setting", "'rainctl set' shows all", "there is no setting %q", s.Key)
		}
	}
	return a.print(v, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "SETTING\tTHE CLUSTER'S\tIN THE FILE OF %s\n", safe(v.Node))
		for _, x := range v.Settings {
			file := orDash(x.File)
			if x.File == x.Value {
				file = "the same"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", safe(x.Key), orDash(x.Value), file)
		}
		_ = t.Flush() // w is a buffer
	})
}
