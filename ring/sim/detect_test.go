package sim

import (
	"fmt"
	"testing"
	"time"

	"rain/ring"
)

// Conservative detection leaves nobody out whom any other reaches: two nodes that
// do not hear each other, both ways or one way, and nobody relays. Seeds, 2.5.2.2.
func TestAsymmetryLeavesNobodyOut(t *testing.T) {
	for _, preset := range []string{"lan", "laptop"} {
		for _, n := range []int{3, 4, 5} {
			for _, cuts := range [][]string{{"cut 1 2", "cut 2 1"}, {"cut 1 2"}, {"cut 2 1"}} {
				t.Run(fmt.Sprint(preset, n, cuts), func(t *testing.T) {
					s := script(t, fmt.Sprintf("cluster %d %s", n, preset), "start all", "whole", "run 200ms")
					before := s.c.nodes[0].st.view.Number
					do(t, s, cuts...)
					do(t, s, "run 5s")
					for _, o := range s.c.nodes {
						if o.st.view.Number != before {
							t.Fatalf("sim: invariant 6 (liveness) broken: node %d is in view %d, before the cut it was %d", o.i+1, o.st.view.Number, before)
						}
					}
				})
			}
		}
	}
}

// The price of being conservative: nobody waits longer for what a dead member had
// than its lease and 1/8 and some rotations, and the others' leases never lapse.
// The dead one is the holder, its successor, or any other; from two nodes on.
func TestDeadAreLeftOutInTime(t *testing.T) {
	for _, preset := range []string{"fast", "lan", "laptop"} {
		for _, n := range []int{2, 3, 4, 7} {
			for _, holder := range []int{1, 2, n} {
				for _, aggressive := range []bool{false, true} {
					t.Run(fmt.Sprint(preset, n, holder, aggressive), func(t *testing.T) { leftOutInTime(t, preset, n, holder, aggressive) })
				}
			}
		}
	}
}

// leftOutInTime kills node 2 while a node holds the token.
func leftOutInTime(t *testing.T, preset string, n, holder int, aggressive bool) {
	s := script(t, fmt.Sprintf("cluster %d %s", n, preset))
	if aggressive {
		do(t, s, "aggressive")
	}
	do(t, s, "start all", "whole", "own 2 0", "run 300ms", fmt.Sprintf("holder %d", holder), "crash 2")
	c := s.c
	start, free := c.now, c.opt.Timing.Wait()+2*c.opt.Timing.IdleRotation
	lapsed := ring.NodeID(0)
	c.onTrace = func(*node, *ring.Trace) {
		for _, o := range c.nodes {
			if o.up && o.lease <= o.clock.at(c.now) && lapsed == 0 {
				lapsed = o.id
			}
		}
	}
	one := c.nodes[0]
	if err := s.until(func() bool { return len(one.st.view.Members) == n-1 }, "a view without node 2"); err != nil {
		t.Fatal(err)
	}
	do(t, s, "own 1 0")
	if err := s.until(func() bool { return one.hold[0].from > 0 }, "node 1 to act"); err != nil {
		t.Fatal(err)
	}
	if took := time.Duration(c.now - start); took > free {
		t.Errorf("sim: invariant 6 (liveness) broken: what node 2 had rested for %v, want at most %v", took, free)
	}
	if lapsed != 0 {
		t.Errorf("sim: invariant 6 (liveness) broken: the lease of %s lapsed for another's death", lapsed)
	}
}

// Who stands still for less than a lease, but for two idle rotations and a half, is
// passed over and not left out: nobody may touch what it has before its lease is
// over, and then it is back.
func TestPauseBelowALeaseLeavesNobodyOut(t *testing.T) {
	for _, preset := range []string{"fast", "lan", "laptop"} {
		for _, n := range []int{2, 3, 4, 7} {
			s := script(t, fmt.Sprintf("cluster %d %s", n, preset), "start all", "whole", "run 200ms")
			c := s.c
			before := c.nodes[0].st.view.Number
			tm := c.opt.Timing
			pause := tm.Lease - 5*tm.IdleRotation/2
			for i := range 20 {
				do(t, s, fmt.Sprintf("run %v", 3*tm.Lease+time.Duration(i)*tm.IdleRotation/7), fmt.Sprintf("pause 2 %v", pause), fmt.Sprintf("run %v", pause))
			}
			do(t, s, "run 300ms")
			if now := c.nodes[0].st.view.Number; now != before {
				t.Errorf("sim: invariant 6 (liveness) broken: %d nodes, %s: the view changed %d times for pauses of %v", n, preset, now-before, pause)
			}
		}
	}
}

// A node whose process is slow accuses nobody of its own lateness: it wakes late
// for every timer, more than its send time-out.
func TestLateNodeAccusesNobody(t *testing.T) {
	s := script(t, "cluster 4 lan", "start all", "whole", "run 200ms")
	c := s.c
	before := c.nodes[0].st.view.Number
	accused := 0
	c.onTrace = func(n *node, tr *ring.Trace) {
		if n.i == 1 && (tr.Kind == ring.TraceDoubt || tr.Kind == ring.TraceSuspect) {
			accused++
		}
	}
	for range 200 {
		do(t, s, "run 37ms", "pause 2 28ms")
	}
	if accused > 0 {
		t.Errorf("sim: invariant 6 (liveness) broken: the late node doubts or suspects others %d times", accused)
	}
	if now := c.nodes[0].st.view.Number; now != before {
		t.Errorf("sim: invariant 6 (liveness) broken: the view changed %d times for a pause below the time-outs", now-before)
	}
}

// A member that sends but hears nothing asks for the token again and again. Its
// questions are no proof that it could take one: it is left out like a dead one.
func TestDeafMemberIsLeftOut(t *testing.T) {
	for _, preset := range []string{"fast", "lan", "laptop"} {
		for _, n := range []int{3, 5} {
			s := script(t, fmt.Sprintf("cluster %d %s", n, preset), "start all", "whole", "run 200ms")
			c := s.c
			for i := range n {
				if i != 1 {
					do(t, s, fmt.Sprintf("cut %d 2", i+1))
				}
			}
			from := c.now
			if err := s.until(func() bool { return len(c.nodes[0].st.view.Members) == n-1 }, "a view without node 2"); err != nil {
				t.Fatal(err)
			}
			if took, most := time.Duration(c.now-from), 3*c.opt.Timing.Lease; took > most {
				t.Errorf("sim: invariant 6 (liveness) broken: %d nodes, %s: the deaf one was left out after %v, want at most %v", n, preset, took, most)
			}
		}
	}
}
