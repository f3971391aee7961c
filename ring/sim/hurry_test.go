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
