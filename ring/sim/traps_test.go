package sim

import (
	"bytes"
	"testing"
	"time"

	"rain/ring"
)

// script runs commands and returns the cluster for a closer look.
func script(t *testing.T, lines ...string) *Script {
	t.Helper()
	var trace bytes.Buffer
	s := NewScript(&trace)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + trace.String())
		}
	})
	do(t, s, lines...)
	return s
}

func do(t *testing.T, s *Script, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if err := s.Do(l); err != nil {
			t.Fatal(err)
		}
	}
}

// Trap 12: ten per cent. The owner's clock is 5 % slow, the taker's 5 % fast, and
// the owner is cut off at the worst moment, just after its lease was confirmed.
// Every start of the owner's fate is tried, and nothing is late: timers tick
// exactly to their deadlines. realised() compares to the nanosecond.
func TestTenPerCent(t *testing.T) {
	tight := int64(time.Hour)
	for shift := range 24 {
		s := script(t, "cluster 3")
		c := s.c
		c.opt.MinLatency, c.opt.MaxLatency = 100*time.Microsecond, 100*time.Microsecond
		c.nodes[0].clock.rate = million - 50_000
		c.nodes[1].clock.rate = million + 50_000
		c.nodes[2].clock.rate = million + 50_000
		do(t, s, "start all", "whole", "own 1 0", "run 100ms", "holder 1")
		if c.nodes[0].hold[0].to <= c.now {
			t.Fatal("node 1 does not act on its thing")
		}
		if err := c.Run(time.Duration(shift) * 500 * time.Microsecond); err != nil {
			t.Fatal(err)
		}
		do(t, s, "part 1")
		taker := c.nodes[1]
		if err := s.until(func() bool { return len(taker.st.view.Members) == 2 }, "a view without node 1"); err != nil {
			t.Fatal(err)
		}
		do(t, s, "own 2 0")
		if err := s.until(func() bool { return taker.hold[0].to > c.now && taker.hold[0].from <= c.now }, "the taker to act"); err != nil {
			t.Fatal(err)
		}
		tight = min(tight, taker.hold[0].from-c.nodes[0].hold[0].to)
		do(t, s, "run 200ms")
	}
	if tight < 0 || tight > int64(15*time.Millisecond) {
		t.Errorf("the closest hand-over left %s between owner and taker; expected a little more than nothing", stamp(tight))
	}
	t.Logf("closest hand-over: %s", stamp(tight))
}

// Trap 15: an old stamp. Node 1 has x on disk, from epoch 1. Epoch 3 acknowledges
// it again, but node 1's disk hangs: what is there is stamped with epoch 1. Node 2
// has y of epoch 2 at the same index. x must not count as durable on node 1.
func TestOldStamp(t *testing.T) {
	s := script(t, "cluster 3", "start all", "whole", "run 200ms", "holder 1")
	c := s.c
	a, b := c.nodes[0], c.nodes[1]
	do(t, s, "lose 1 2", "propose 1 x durable", "cut 1 2", "cut 1 3", "cut 2 1", "cut 3 1")
	base := a.seen.Last
	if err := s.until(func() bool { return last(&a.disk.rec) > base }, "x on node 1's disk"); err != nil {
		t.Fatal(err)
	}
	do(t, s, "hang 1", "propose 2 y", "lose 2 3")
	if err := s.until(func() bool { return b.disk.rec.Stamp.Epoch > a.disk.rec.Stamp.Epoch && last(&b.disk.rec) > base }, "node 2 with an epoch of its own"); err != nil {
		t.Fatal(err)
	}
	// Node 2 disappears before node 3 has heard of y; 1 and 3 meet.
	do(t, s, "part 2", "cut 3 2", "cut 2 3")
	for _, p := range [][2]int{{0, 2}, {2, 0}} {
		c.cut[p[0]][p[1]] = 0
	}
	do(t, s, "run 900ms")
	do(t, s, "crash 1", "crash 2", "crash 3", "heal", "unhang 1", "start 1 2", "whole", "start 3", "whole", "run 500ms")
}

// Trap 16: the joiner's disk. An op is stable on nodes 1 and 2. Node 2 comes back
// and restores an older snapshot, from node 3; node 1's disk burns; then 2 and 3
// start cold. Node 2's disk must still have the op, for it had accepted no token.
func TestJoinersDisk(t *testing.T) {
	s := script(t, "cluster 3", "start all", "whole", "run 200ms")
	c := s.c
	do(t, s, "hang 3", "propose 1 kept durable")
	if err := s.until(func() bool { return len(c.nodes[0].props) == 0 }, "the op to be durable"); err != nil {
		t.Fatal(err)
	}
	kept := c.nodes[0].seen.Stable
	do(t, s, "crash 2", "run 300ms", "start 2")
	adopted := false
	c.onTrace = func(n *node, tr *ring.Trace) { adopted = adopted || n.i == 1 && tr.Kind == ring.TraceAdopt }
	if err := s.until(func() bool { return adopted }, "node 2 to adopt a snapshot"); err != nil {
		t.Fatal(err)
	}
	// Whatever node 2 wants to write now reaches its disk; then all die.
	do(t, s, "part 2", "run 20ms", "crash 1", "crash 2", "crash 3", "burn 1", "heal")
	if got := last(&c.nodes[1].disk.rec); got < kept {
		t.Fatalf("node 2's disk ends at %d, the op is at %d", got, kept)
	}
	do(t, s, "unhang 3", "start 2 3", "run 5s")
	if st := c.nodes[1].seen; st.State == "member" && st.Commit < kept {
		t.Fatalf("the cluster goes on at %d without the op at %d", st.Commit, kept)
	}
}
