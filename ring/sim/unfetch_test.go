package sim

import (
	"testing"
	"time"
)

// One node of four gets no snapshot, its bulk port is closed, say, but votes for cold
// starts like any other. The others must not wait for it for ever: founding, and when
// all were dead.
func TestColdStartBesideOneThatCannotFetch(t *testing.T) {
	for deaf := 1; deaf <= 4; deaf++ {
		s := script(t, "cluster 4")
		s.c.nodes[deaf-1].noFetch = true
		s.othersStart(t, deaf, "founding")
		do(t, s, "run 300ms", "crash 1", "crash 2", "crash 3", "crash 4", "run 1s")
		s.othersStart(t, deaf, "all were dead")
	}
}

// othersStart starts all and waits for a view of all but one.
func (s *Script) othersStart(t *testing.T, deaf int, what string) {
	t.Helper()
	do(t, s, "start all")
	c := s.c
	from := c.now
	whole := func() bool {
		for _, n := range c.nodes {
			if n.i != deaf-1 && (n.seen.State != "member" || n.lease <= n.clock.at(c.now) || n.st.view.Number == 0) {
				return false
			}
		}
		return true
	}
	if err := c.RunUntil(5*time.Minute, whole); err != nil {
		t.Fatal(err)
	}
	took := time.Duration(c.now - from)
	t.Logf("%s, node %d fetches nothing: the others after %v", what, deaf, took)
	if !whole() || took > 20*time.Second {
		t.Fatalf("sim: invariant 6 (liveness) broken: %s, node %d fetches nothing: the others begin after %v: %v%s", what, deaf, took, whole(), c.states())
	}
}
