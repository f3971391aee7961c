package sim

import (
	"testing"
	"time"
)

// Who has work need not wait for an idle token: its word goes ahead of it round the
// ring, so that nobody keeps the token for the idle time. Each of seven nodes, at
// eight moments of a rotation; a hop takes half a millisecond.
func TestHurryGoesRound(t *testing.T) {
	const n = 7
	const most = 3*n*500*time.Microsecond + 2*time.Millisecond // to the proposer, round for the quorum, and what is busy
	var worst time.Duration
	s := script(t, "cluster 7 laptop", "start all", "whole")
	c := s.c
	for shift := range 8 {
		for _, o := range c.nodes {
			// The ring is idle again two seconds after an op.
			do(t, s, "run 2100ms", "holder 1")
			if err := c.Run(time.Duration(shift) * 3 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			from := c.now
			c.propose(o, &proposal{rider: 1, data: []byte("x")})
			if err := s.until(func() bool { return len(o.props) == 0 }, "an answer"); err != nil {
				t.Fatal(err)
			}
			worst = max(worst, time.Duration(c.now-from))
		}
	}
	t.Logf("longest: %v", worst)
	if worst > most {
		t.Errorf("sim: invariant 6 (liveness) broken: an op in an idle ring took %v, want at most %v", worst, most)
	}
}

// The word ends: it runs as fast as the token, and must not chase it for ever. Where
// messages take as long as chance wants, and all hurry at once, the ring is as idle
// soon after as it was before.
func TestHurryEnds(t *testing.T) {
	for _, n := range []int{2, 3, 5, 7} {
		opt := Calm(n, timing(t, "lan"))
		opt.MinLatency, opt.MaxLatency = 50*time.Microsecond, 2*time.Millisecond
		c := New(uint64(n), opt, nil)
		for _, o := range c.nodes {
			c.start(o)
		}
		if err := c.RunUntil(10*time.Second, c.Whole); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			for _, o := range c.nodes {
				c.propose(o, &proposal{rider: 1, data: []byte("x")})
			}
			if err := c.Run(2500 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			before := c.Count.Tokens
			if err := c.Run(time.Second); err != nil {
				t.Fatal(err)
			}
			// An idle rotation takes 10 ms and n hops, so this is every pass there may be.
			if tokens, most := c.Count.Tokens-before, 100*n; tokens > most {
				t.Fatalf("sim: invariant 6 (liveness) broken: %d nodes at rest pass the token %d times a second, want at most %d", n, tokens, most)
			}
		}
	}
}
