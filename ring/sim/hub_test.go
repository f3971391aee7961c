package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// One node reaches all others, and of the others some do not reach each other, one
// way or both, and nobody relays: the links break and heal all the time. A quorum is
// always in reach of the one; so the ring may stumble, with aggressive detection as
// often as a link is broken, but must never stand for long.
func TestHubNeverStandsForLong(t *testing.T) {
	const most = 1500 * time.Millisecond // some five isolations of preset lan
	var worst time.Duration
	for seed := range env(t, "SEEDS", 30) {
		rng := rand.New(rand.NewPCG(seed, 0xb))
		n := 3 + rng.IntN(4)
		s := script(t, fmt.Sprintf("cluster %d lan", n))
		s.c.opt.Aggressive = rng.IntN(3) > 0
		do(t, s, "start all", "whole", "run 50ms")
		took := s.hub(t, rng, s.c.nodes[rng.IntN(n)])
		worst = max(worst, took)
		if took > most {
			t.Fatalf("sim: invariant 6 (liveness) broken: cluster %d: no lease at the one that reaches all for %v, want at most %v", seed, took, most)
		}
	}
	t.Logf("longest time without a lease: %v", worst)
}

// hub breaks links between the others, and returns the longest time in which the hub
// had no lease.
func (s *Script) hub(t *testing.T, rng *rand.Rand, hub *node) (worst time.Duration) {
	c := s.c
	last := c.now
	for range 12 {
		for i := range c.cut {
			clear(c.cut[i])
		}
		i, j := rng.IntN(len(c.nodes)), rng.IntN(len(c.nodes))
		if i == hub.i || j == hub.i {
			i, j = 0, 0 // cutFor does nothing: all is whole
		}
		c.cutFor(i, j, int64(time.Hour))
		if rng.IntN(3) > 0 {
			c.cutFor(j, i, int64(time.Hour))
		}
		for end := c.now + int64(rng.IntN(2000))*int64(time.Millisecond); c.now < end; {
			if err := c.Run(time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if hub.lease > hub.clock.at(c.now) {
				last = c.now
			}
			worst = max(worst, time.Duration(c.now-last))
		}
	}
	return worst
}

// Node 2 was let in by a change that is only in node 3's and its own log; node 1 goes
// on with an epoch that lacks it. Node 2 is told so and comes again at once: it does
// not wait until it has been isolated for so long that disks are asked.
func TestJoinedInVainIsTold(t *testing.T) {
	s := script(t, "cluster 3", "aggressive", "start all", "whole", "run 50ms", "cut 1 2", "cut 2 1")
	one, two := s.c.nodes[0], s.c.nodes[1]
	until := func(what string, done func() bool) {
		t.Helper()
		if err := s.until(done, what); err != nil {
			t.Fatal(err)
		}
	}
	until("node 2 let in again", func() bool { return two.life == 2 && two.seen.State == "member" })
	epoch := two.seen.Copy.Epoch
	until("an epoch without that", func() bool { return one.seen.Copy.Epoch > epoch && !one.seen.Newest.Has(two.me) })
	if two.life != 2 {
		t.Fatal("the story went another way")
	}
	from := s.c.now
	until("node 2 in its next life", func() bool { return two.life == 3 })
	if took := time.Duration(s.c.now - from); took > 200*time.Millisecond {
		t.Errorf("sim: invariant 6 (liveness) broken: node 2 was told after %v that it is out, want at most 200ms", took)
	}
}
