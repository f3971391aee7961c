package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

type statusCmd struct {
	Check bool `help:"Exit with 10 if degraded, 11 if critical."`
}

func (s *statusCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	st, err := c.Status(a.ctx)
	if err != nil {
		return err
	}
	if s.Check {
		switch st.Health {
		case "ok":
		case "degraded":
			a.code = 10
		default:
			a.code = 11
		}
	}
	return a.print(st, func(w io.Writer) { showStatus(w, st, time.Now()) })
}

func showStatus(w io.Writer, st admin.Status, now time.Time) {
	fmt.Fprintf(w, "%s: %s\n", strings.ToUpper(safe(st.Health)), safe(st.Sentence))
	r := st.Ring
	primary := "primary"
	if !r.Primary {
		primary = "not primary"
	}
	with := safe(r.Distinguished)
	if with == "" {
		with = "whom the witness will name"
	}
	fmt.Fprintf(w, "cluster %s as %s sees it: %s, %s, view %d, quorum needs %d (exactly half counts with %s), %.0f rotations/s, hop p50 %d us, p99 %d us, %d regenerations\n",
		safe(st.Cluster), safe(st.Node), safe(r.State), primary, r.View, r.QuorumNeed, with, r.RotationsPS, r.HopP50US, r.HopP99US, r.Regeneration)

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nNODE\tID\tSTATE\tSINCE\tHOLDS\tMAY DIE NOW")
	for _, m := range st.Members {
		may := "no"
		for _, n := range st.Tolerance.SafeToLose {
			if n == m.Name {
				may = "yes"
			}
		}
		if m.State == "down" {
			may = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", safe(m.Name), safe(m.ID), safe(m.State), ago(now, m.Since), holds(st, m.Name), may)
	}
	if len(st.VIPs) > 0 {
		fmt.Fprintln(t, "\nVIP\tPOOL\tHOLDER\tSINCE\tMOVES\tLAST MOVE\tGAP")
	}
	for _, v := range st.VIPs {
		holder := v.Holder
		if holder == "" {
			holder = "nobody"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%d ms\n", safe(v.Addr), safe(v.Pool), safe(holder), ago(now, v.Since), v.Moves, safe(v.Cause), v.GapMS)
	}
	_ = t.Flush() // w is a buffer
	showStreams(w, st, now)
	showRest(w, st)
}

func showRest(w io.Writer, st admin.Status) {
	data := "no objects yet"
	if d := st.Tolerance.Data; d != nil {
		data = fmt.Sprintf("every object survives the loss of %d", *d)
	}
	may := "none; bring nodes back first"
	if s := st.Tolerance.SafeToLose; len(s) > 0 {
		may = "any one of " + safe(strings.Join(s, ", "))
	}
	fmt.Fprintf(w, "\nsafe to lose: %s (addresses survive %d at once, %s)\n", may, st.Tolerance.Ring, data)
	fmt.Fprintf(w, "store: %d objects, %s, disk %s", st.Store.Objects, size(st.Store.StoredBytes), safe(st.Store.Disk))
	if n := st.Store.MissingSymbols; n > 0 {
		fmt.Fprintf(w, ", %d symbols missing, %s and about %d s of repair left", n, size(st.Store.RepairLeft), st.Store.RepairETAS)
	}
	fmt.Fprintf(w, "\nqueue: %d running, %d claimed from dead nodes; streams: %d\n", st.Queue.Length, st.Queue.Claimed, len(st.Streams))
	for _, x := range st.Warnings {
		fmt.Fprintf(w, "warning %s: %s\n", safe(x.Code), safe(x.Text))
	}
}

func holds(st admin.Status, node string) string {
	var addrs []string
	for _, v := range st.VIPs {
		if v.Holder == node {
			addrs = append(addrs, safe(v.Addr))
		}
	}
	if addrs == nil {
		return "-"
	}
	return strings.Join(addrs, " ")
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return max(0, now.Sub(t)).Truncate(time.Second).String()
}

func size(n int64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

type ringCmd struct {
	Quorum    quorumCmd    `cmd:"" help:"What the ring can lose now, and who may die next."`
	Bootstrap bootstrapCmd `cmd:"" help:"Start the cluster from one node's disk alone, when the others are gone for good."`

	Events eventsCmd `cmd:"" help:"What changed, when, why, and how long addresses were without a holder."`
}

type eventsCmd struct {
	Follow bool   `short:"f" help:"Go on until interrupted."`
	After  uint64 `help:"Only events with a higher id."`
}

func (e *eventsCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ev, err := c.Events(a.ctx, e.After)
	if err != nil {
		return err
	}
	if !e.Follow {
		return a.print(ev, func(w io.Writer) { showEvents(w, ev.Events) })
	}
	node := ev.Node
	for {
		for _, x := range ev.Events {
			if err := a.print(struct {
				API int `json:"api"`
				admin.Event
			}{cli.API, x}, func(w io.Writer) { showEvents(w, []admin.Event{x}) }); err != nil {
				return err
			}
		}
		select {
		case <-a.ctx.Done():
			return nil // an interrupt is how this verb ends
		case <-time.After(500 * time.Millisecond):
		}
		next, err := c.Events(a.ctx, ev.Last)
		switch {
		case a.ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case next.Node != node:
			// Ids are each node's own: another node's story starts from its end.
			fmt.Fprintf(a.stderr, "rainctl: %s does not answer; %s goes on\n", safe(node), safe(next.Node))
			node = next.Node
			if next, err = c.Events(a.ctx, 0); err != nil {
				return err
			}
			next.Events = nil
		}
		ev = next
	}
}

func showEvents(w io.Writer, events []admin.Event) {
	for _, e := range events {
		fmt.Fprintf(w, "%s  %-8s %s", e.Time.Local().Format("2006-01-02 15:04:05.000"), safe(e.Kind), safe(e.Text))
		if e.Why != "" {
			fmt.Fprintf(w, "  (%s)", safe(e.Why))
		}
		if e.GapMS > 0 {
			fmt.Fprintf(w, "  gap %d ms", e.GapMS)
		}
		fmt.Fprintln(w)
	}
}
