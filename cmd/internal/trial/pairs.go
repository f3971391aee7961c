//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"rain/ring"
	"rain/snow/admin"
)

// pairs kills every pair of the four nodes, one after the other and at once,
// and compares what is left with what the quorum rule says of the status
// before.
func pairs(ctx context.Context, c *cluster, _ options) error {
	wrong := 0
	for _, atOnce := range []bool{false, true} {
		for i := range c.file.Nodes {
			for j := i + 1; j < len(c.file.Nodes); j++ {
				ok, err := onePair(ctx, c, c.file.Nodes[i].Name, c.file.Nodes[j].Name, atOnce)
				if err != nil {
					return err
				}
				if !ok {
					wrong++
				}
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d pairs ended otherwise than the quorum rule says", wrong)
	}
	return nil
}

func onePair(ctx context.Context, c *cluster, a, b string, atOnce bool) (bool, error) {
	if err := c.whole(ctx); err != nil {
		return false, err
	}
	na, err := c.node(a)
	if err != nil {
		return false, err
	}
	nb, err := c.node(b)
	if err != nil {
		return false, err
	}
	var rest demoNode
	for _, n := range c.file.Nodes {
		if n.Name != a && n.Name != b {
			rest = n
		}
	}
	st, err := c.status(ctx, rest)
	if err != nil {
		return false, err
	}
	want, distinguished := rule(st, a, b, atOnce)
	if err := syscall.Kill(na.Pid, syscall.SIGKILL); err != nil {
		return false, err
	}
	if !atOnce {
		if err := settle(ctx, c, rest, 3); err != nil {
			return false, err
		}
	}
	if err := syscall.Kill(nb.Pid, syscall.SIGKILL); err != nil {
		return false, err
	}
	sleep(ctx, 3*time.Second)
	after, err := c.status(ctx, rest)
	if err != nil {
		return false, err
	}
	got := after.Ring.Primary
	how := "one after the other"
	if atOnce {
		how = "at once"
	}
	fmt.Printf("%s and %s killed %s: before: distinguished %s, safe to lose %v, tolerance %d; rule says primary=%v; got primary=%v, answered on the VIPs: %v\n",
		a, b, how, distinguished, st.Tolerance.SafeToLose, st.Tolerance.Ring, want, got, ask(c.file.VIPs[0]) != "")
	served := ask(c.file.VIPs[0]) != "" && ask(c.file.VIPs[1]) != ""
	for _, n := range []string{a, b} {
		if err := c.control(n, "start"); err != nil {
			return false, err
		}
	}
	return got == want && served == want, nil
}

// rule applies dynamic-linear voting to the members that the status names.
func rule(st admin.Status, a, b string, atOnce bool) (primary bool, distinguished string) {
	v := ring.View{Number: st.Ring.View}
	names := map[ring.NodeID]string{}
	for _, m := range st.Members {
		id, err := ring.ParseNodeID(m.ID)
		if err != nil || m.State == "down" {
			continue
		}
		names[id] = m.Name
		v.Members = append(v.Members, ring.ViewMember{Member: ring.Member{ID: id, Inc: ring.Incarnation(m.Incarnation)}, Since: m.ViewSince})
	}
	slices.SortFunc(v.Members, func(x, y ring.ViewMember) int { return int(x.ID) - int(y.ID) })
	distinguished = names[v.Distinguished().ID]
	if !atOnce {
		// Four become three, and three become two: each step has a majority.
		return true, distinguished
	}
	return v.Quorum(func(m ring.Member) bool { n := names[m.ID]; return n != a && n != b }), distinguished
}

// settle waits until the node sees a settled view of that many members.
func settle(ctx context.Context, c *cluster, n demoNode, members int) error {
	for range 100 {
		st, err := c.status(ctx, n)
		if err == nil && st.Ring.Primary && st.Ring.Settled && st.Ring.Members == members {
			return nil
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("no settled view of %d within 5 s", members)
}
