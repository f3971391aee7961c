package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/client"
	"rain/snow/admin"
	"rain/store"
)

type storeCmd struct {
	Check   storeCheckCmd   `cmd:"" help:"Read all that is stored, on all nodes, and hold it to its checksums. What is bad is made anew."`
	Repair  storeRepairCmd  `cmd:"" help:"Have all nodes make what they lack, and wait until nothing is missing."`
	GC      storeGCCmd      `cmd:"" name:"gc" help:"Remove at once what no object refers to."`
	Rewrite storeRewriteCmd `cmd:"" help:"Put the objects of a bucket again that have an older code, or lie on nodes off the layout."`
}

// waiting is for verbs whose work goes on after the answer.
type waiting struct {
	NoWait bool          `help:"Only start it."`
	For    time.Duration `default:"1h" help:"Wait at most so long."`
}

// careResult is what the verbs print.
type careResult struct {
	admin.CareAnswer
	Written int64 `json:"written_bytes"` // repaired while the verb waited
	TookMS  int64 `json:"took_ms"`
}

const carePoll = 300 * time.Millisecond

// care gives an order and waits until over says so.
func (a *app) care(verb string, wish admin.CareWish, wait waiting, over func(admin.CareAnswer) bool, text func(io.Writer, careResult)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	c.Timeout = max(c.Timeout, 45*time.Second) // a node that does not answer is waited for by the one that asks it
	start := time.Now()
	first, err := c.Care(a.ctx, verb, wish)
	if err != nil {
		return err
	}
	last := first
	if !wait.NoWait {
		if last, err = a.await(c, first, start.Add(wait.For), over); err != nil {
			return err
		}
	}
	r := careResult{last, max(last.Repaired-first.Repaired, 0), time.Since(start).Milliseconds()}
	r.API, r.Order = cli.API, verb
	if len(r.Unanswered) > 0 {
		a.code = int(cli.Unavailable)
	}
	return a.print(r, func(w io.Writer) {
		text(w, r)
		if len(r.Unanswered) > 0 {
			fmt.Fprintf(w, "no answer from %s\n", safe(strings.Join(r.Unanswered, ", ")))
		}
	})
}

func (a *app) await(c *client.Client, at admin.CareAnswer, end time.Time, over func(admin.CareAnswer) bool) (admin.CareAnswer, error) {
	failed := 0
	for !over(at) {
		if time.Now().After(end) {
			return at, cli.New(cli.Unavailable, "timeout", "it goes on; ask again, or raise --for", "not done in time: %d symbols are missing", at.Missing)
		}
		select {
		case <-a.ctx.Done():
			return at, a.ctx.Err()
		case <-time.After(carePoll):
		}
		next, err := c.StoreState(a.ctx)
		if err == nil {
			at, failed = next, 0
		} else if failed++; failed > 10 {
			return at, err
		}
	}
	return at, nil
}

type storeCheckCmd struct{ waiting }

func (s *storeCheckCmd) Run(a *app) error {
	over := func(r admin.CareAnswer) bool {
		return !slices.ContainsFunc(r.Nodes, func(n store.NodeCare) bool {
			return n.Error == "" && (n.Check == nil || n.Check.Running)
		})
	}
	return a.care(store.CareCheck, admin.CareWish{}, s.waiting, over, func(w io.Writer, r careResult) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NODE\tFILES READ\tBYTES\tBAD\tMISSING\tTOOK")
		for _, n := range r.Nodes {
			if c := n.Check; n.Error == "" && c != nil {
				took := (time.Duration(c.TookMS) * time.Millisecond).String()
				if c.Running {
					took += ", running"
				}
				fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%s\n", safe(n.Node), c.Pieces, size(c.Bytes), c.Bad, n.Missing, took)
			} else {
				fmt.Fprintf(t, "%s\t-\t-\t-\t-\t%s\n", safe(n.Node), safe(n.Error))
			}
		}
		_ = t.Flush() // w is a buffer
		if r.Bad > 0 {
			fmt.Fprintf(w, "%d files were bad; they are made anew ('rainctl store repair' waits for it)\n", r.Bad)
		}
	})
}

type storeRepairCmd struct{ waiting }

func (s *storeRepairCmd) Run(a *app) error {
	over := func(r admin.CareAnswer) bool { return r.Missing == 0 }
	return a.care(store.CareRepair, admin.CareWish{}, s.waiting, over, func(w io.Writer, r careResult) {
		fmt.Fprintf(w, "%d symbols missing, %s written in %v\n", r.Missing, size(r.Written), time.Duration(r.TookMS)*time.Millisecond)
	})
}

type storeGCCmd struct {
	Grace *time.Duration `placeholder:"D" help:"Only what has been without an object for so long; else the nodes' own grace, an hour. 0s: all; what came within the last minute stays."`
}

func (s *storeGCCmd) Run(a *app) error {
	var w admin.CareWish
	if s.Grace != nil {
		if *s.Grace < 0 {
			return usage("--grace %v: must not be negative", *s.Grace)
		}
		ms := s.Grace.Milliseconds()
		w.GraceMS = &ms
	}
	return a.care(store.CareGC, w, waiting{NoWait: true}, nil, func(out io.Writer, r careResult) {
		fmt.Fprintf(out, "%d files removed, %s\n", r.Removed, size(r.RemovedB))
		for _, n := range r.Nodes {
			if n.Kept != "" {
				fmt.Fprintf(out, "%s removed nothing: %s\n", safe(n.Node), safe(n.Kept))
			} else if n.Orphans > 0 {
				fmt.Fprintf(out, "%s keeps %d for now, %s\n", safe(n.Node), n.Orphans, size(n.OrphanBytes))
			}
		}
	})
}

type storeRewriteCmd struct {
	Bucket string `arg:"" help:"The bucket."`
	waiting
}

func (s *storeRewriteCmd) Run(a *app) error {
	node := ""
	report := func(r admin.CareAnswer) *store.RewriteReport {
		if node == "" {
			node = r.Node // who was asked does it
		}
		for _, n := range r.Nodes {
			if n.Node == node {
				return n.Rewrite
			}
		}
		return nil
	}
	over := func(r admin.CareAnswer) bool {
		w := report(r)
		return w != nil && !w.Running
	}
	var last *store.RewriteReport
	watch := func(r admin.CareAnswer) bool {
		done := over(r)
		last = report(r)
		return done
	}
	err := a.care("rewrite", admin.CareWish{Bucket: s.Bucket}, s.waiting, watch, func(w io.Writer, r careResult) {
		if x := report(r.CareAnswer); x != nil {
			fmt.Fprintf(w, "%d objects of %s were put again\n", x.Objects, safe(x.Bucket))
			if x.Error != "" {
				fmt.Fprintf(w, "then it failed: %s\n", safe(x.Error))
			}
		}
	})
	if err == nil && last != nil && last.Error != "" {
		a.code = int(cli.Failed)
	}
	return err
}
