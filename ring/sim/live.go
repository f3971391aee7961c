package sim

import (
	"errors"
	"time"

	"rain/ring"
)

// errForce ends a run in which a node that is gone is the one that is wanted.
var errForce = errors.New("sim: the newest disk's views want a node that is gone")

// Bound is how long after the last fault a cluster may take to be whole: some
// cold starts with their back-off and a join for each node, at the times in use.
func (c *Cluster) Bound() time.Duration {
	t := c.opt.Timing
	return 8*t.ColdAfter + time.Duration(len(c.nodes)+4)*20*(t.StarveTimeout+t.SendTimeout) + 2*time.Second
}

// Whole reports whether all nodes that are up are members of one settled view
// of exactly them, and have a lease.
func (c *Cluster) Whole() bool {
	up := 0
	for _, n := range c.nodes {
		if n.up {
			up++
		}
	}
	for _, n := range c.nodes {
		if !n.up {
			continue
		}
		s := &n.seen
		if n.paused || s.State != "member" || len(s.Views) != 1 || n.lease <= n.clock.at(c.now) {
			return false
		}
		v := s.Views[0].View
		if s.Views[0].Index > s.Stable || len(v.Members) != up || !v.Has(n.me) || n.st.view.Number != v.Number {
			return false
		}
	}
	return up > 0
}

// Idle reports whether no proposal waits and all have applied the same.
func (c *Cluster) Idle() bool {
	var first *node
	for _, n := range c.nodes {
		if !n.up {
			continue
		}
		if len(n.props) > 0 || first != nil && n.st.chain != first.st.chain {
			return false
		}
		if first == nil {
			first = n
		}
	}
	return true
}

// Settle runs until the cluster is whole, then until it is idle. It fails the
// run if that takes longer than the bound.
func (c *Cluster) Settle() (time.Duration, error) {
	from := c.now
	for _, phase := range []struct {
		name string
		done func() bool
	}{{"one view of all", c.Whole}, {"all proposals answered", c.Idle}} {
		busy := c.busy
		c.busy = c.busy && phase.name != "all proposals answered"
		if err := c.RunUntil(c.Bound(), phase.done); err != nil {
			return 0, err
		}
		if !phase.done() && c.wantsForce() {
			c.Count.Forced++
			return 0, errForce
		}
		if !phase.done() {
			c.fail(6, "not within %s: %s; %s", stamp(int64(c.Bound())), phase.name, c.states())
			return 0, c.err
		}
		c.busy = busy
	}
	return time.Duration(c.now - from), nil
}

// Soak is the whole of a random run: faults for so long, then peace; then one
// node dies and the others must go on without it.
func (c *Cluster) Soak(d time.Duration) error {
	if err := c.Run(d); err != nil {
		return err
	}
	c.StopFaults()
	// Who is leaving is let go, and comes back.
	if err := c.RunUntil(c.Bound(), func() bool { return !c.leaving() }); err != nil {
		return err
	}
	c.StopFaults()
	took, err := c.Settle()
	c.Slowest = max(c.Slowest, took)
	if errors.Is(err, errForce) {
		return nil
	}
	if err != nil || len(c.nodes) < 3 {
		return err
	}
	c.crash(c.nodes[c.rng.IntN(len(c.nodes))])
	for _, n := range c.nodes { // who stopped proposing starts again
		if n.up {
			c.nextWork(n)
		}
	}
	if _, err = c.Settle(); errors.Is(err, errForce) {
		return nil
	}
	return err
}

// leaving reports whether a node is on its way out.
func (c *Cluster) leaving() bool {
	for _, n := range c.nodes {
		if n.up && n.leaves {
			return true
		}
	}
	return false
}

// wantsForce reports whether the cluster waits for a node that is gone for good
// (its disk burned, or it is not started again), with reason: the views in force
// on the newest disk in reach have no quorum without it. So it is when a view
// change was not settled, or not known as settled, in the moment of that death.
// That is a limit of the ring (two failures at once); an operator must force it.
func (c *Cluster) wantsForce() bool {
	var best *node
	gone := false
	for _, n := range c.nodes {
		if n.up && n.seen.State == "member" {
			return false
		}
		gone = gone || n.disk.burned || !n.up
		if !n.up {
			continue
		}
		if best == nil || best.disk.rec.Stamp.Epoch < n.disk.rec.Stamp.Epoch ||
			best.disk.rec.Stamp.Epoch == n.disk.rec.Stamp.Epoch && last(&best.disk.rec) < last(&n.disk.rec) {
			best = n
		}
	}
	if !gone || best == nil {
		return false
	}
	has := func(m ring.Member) bool {
		n := c.nodes[c.index(m.ID)]
		return n.up && n.disk.rec.Stamp != (ring.Stamp{})
	}
	for _, v := range best.seen.Views {
		all := true
		for _, m := range v.View.Members {
			all = all && has(m.Member)
		}
		if !c.mayCount(best.disk.rec.Stamp.Epoch.Generation(), v.View, has) || v.Cold && v.Index > best.disk.rec.Stable && !all {
			return true
		}
	}
	return false
}
