package sim

import (
	"strings"
	"testing"
	"time"

	"rain/ring"
)

// Ten nodes found a cluster, and in the moment in which the maker tells the nine
// others of it nothing gets through for a while. One failed message each is no
// reason to begin anew: so it was counted once, and ten nodes on a busy machine
// never met, each new try being a new incarnation for all to get to know.
func TestColdMadeUnheardOnce(t *testing.T) {
	s := script(t, "cluster 10", "start all")
	c := s.c
	deaf, lost := false, false
	c.onTrace = func(n *node, tr *ring.Trace) {
		switch {
		case tr.Kind == ring.TraceColdMade && !deaf:
			deaf = true
			for i := range c.nodes {
				c.cutFor(n.i, i, int64(c.opt.Timing.SendTimeout+10*time.Millisecond))
			}
		case tr.Kind == ring.TraceRejoin:
			lost = true
		}
	}
	do(t, s, "whole")
	if !deaf || lost {
		t.Errorf("sim: invariant 6 (liveness) broken: cold view made: %v; somebody began anew: %v; want true, false", deaf, lost)
	}
}

// A node without a view asks so often, however many nodes there are: ten or a
// hundred that seek must not keep each other from hearing.
func TestSeekersAreFew(t *testing.T) {
	for _, n := range []int{10, 40} {
		var out strings.Builder
		opt := Calm(n, timing(t, "lan"))
		c := New(1, opt, &out)
		for _, i := range c.nodes[:n/2] { // no quorum: they seek for ever
			c.start(i)
		}
		if err := c.Run(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		perSecond := float64(strings.Count(out.String(), "send Seek")) / 10 / float64(n/2)
		if perSecond > 150 {
			t.Errorf("sim: invariant 6 (liveness) broken: of %d nodes a seeker sends %.0f messages a second, want at most 150", n, perSecond)
		}
		for _, i := range c.nodes[n/2:] {
			c.start(i)
		}
		if _, err := c.Settle(); err != nil {
			t.Fatal(err)
		}
	}
}

func timing(t *testing.T, preset string) ring.Timing {
	t.Helper()
	got, ok := ring.Preset(preset)
	if !ok {
		t.Fatalf("no preset %q", preset)
	}
	return got
}
