package sim

import (
	"fmt"
	"testing"
	"time"
)

// witnessScript is a quiet cluster of so many nodes under policy witness.
func witnessScript(t *testing.T, nodes int, lines ...string) *Script {
	t.Helper()
	s := script(t, fmt.Sprintf("cluster %d", nodes))
	s.c.opt.Witness = true
	do(t, s, append([]string{"start all", "whole", "run 200ms"}, lines...)...)
	return s
}

func acts(c *Cluster, i int) bool {
	n := c.nodes[i-1]
	return n.up && n.lease > n.clock.at(c.now)
}

// Two boxes: either may die, also the distinguished one, and the other goes on.
// In health, and with more than half, nobody asks the witness.
func TestWitnessPair(t *testing.T) {
	for dies := 1; dies <= 2; dies++ {
		lives := 3 - dies
		s := witnessScript(t, 2)
		c := s.c
		if c.witness.asked != 0 {
			t.Errorf("the witness was asked %d times in health", c.witness.asked)
		}
		do(t, s, fmt.Sprintf("crash %d", dies))
		if err := s.until(func() bool { n := c.nodes[lives-1]; return acts(c, lives) && len(n.seen.Newest.Members) == 1 }, "the other to go on"); err != nil {
			t.Fatal(err)
		}
		do(t, s, fmt.Sprintf("start %d", dies), "whole", "run 200ms")
	}
}

// Two boxes that cannot hear each other, and a witness: exactly one goes on, and
// the other gives up; healed, both are in one view.
func TestWitnessCut(t *testing.T) {
	s := witnessScript(t, 2)
	c := s.c
	do(t, s, "part 1", "run 2s")
	if acts(c, 1) == acts(c, 2) {
		t.Fatalf("acting: %v, %v; want one of them", acts(c, 1), acts(c, 2))
	}
	do(t, s, "heal", "whole", "run 200ms")
}

// Without the witness no half goes on, and none is named by accident; when it is
// back, one does.
func TestWitnessAway(t *testing.T) {
	s := witnessScript(t, 4)
	c := s.c
	c.witness.away = true
	do(t, s, "part 1 2", "run 3s")
	for i := 1; i <= 4; i++ {
		if acts(c, i) {
			t.Errorf("node %d acts without a witness", i)
		}
	}
	c.witness.away = false
	do(t, s, "run 3s")
	if acts(c, 1) == acts(c, 3) || acts(c, 1) != acts(c, 2) || acts(c, 3) != acts(c, 4) {
		t.Errorf("acting: %v %v | %v %v; want one half", acts(c, 1), acts(c, 2), acts(c, 3), acts(c, 4))
	}
	do(t, s, "heal", "whole")
}

// The half that was named dies whole, in its turn: the other half must not go on
// with the old view, whose deciding member is dead and may have gone further.
func TestWitnessNamesOnce(t *testing.T) {
	s := witnessScript(t, 2)
	c := s.c
	do(t, s, "part 1", "run 2s")
	on, off := 1, 2
	if acts(c, 2) {
		on, off = 2, 1
	}
	do(t, s, fmt.Sprintf("propose %d x durable", on), "run 200ms", fmt.Sprintf("crash %d", on), "heal", "run 15s")
	if acts(c, off) {
		t.Fatalf("node %d acts on a view that node %d has left behind", off, on)
	}
	do(t, s, fmt.Sprintf("start %d", on), "whole", "run 200ms")
}

// Both die; one comes back alone and asks: if nobody was named it may start from
// its disk. The other joins it.
func TestWitnessCold(t *testing.T) {
	s := witnessScript(t, 2, "crash 1", "crash 2", "start 2")
	if err := s.until(func() bool { return acts(s.c, 2) }, "one of two to start cold"); err != nil {
		t.Fatal(err)
	}
	do(t, s, "start 1", "whole", "run 200ms")
}

// A node of another policy is not let in: two rules of what a quorum is in one
// ring would be two primaries.
func TestPoliciesDoNotMix(t *testing.T) {
	s := script(t, "cluster 3", "start 1", "start 2", "run 500ms")
	s.c.opt.Witness = true
	do(t, s, "start 3", "run 3s")
	if n := s.c.nodes[2]; n.seen.State == "member" {
		t.Error("a node with policy witness is a member of a ring with policy dynamic")
	}
}

// Random trouble under policy witness, its answers lost as well.
func TestWitnessRandom(t *testing.T) {
	seeds, first := env(t, "SEEDS", 100), env(t, "FIRST", 1)
	if testing.Short() {
		seeds = min(seeds, 30)
	}
	var asked uint64
	for seed := first; seed < first+seeds; seed++ {
		opt := Random(seed)
		opt.Witness, opt.WitnessFail = true, []float64{0, 0.3}[seed%2]
		c := New(seed, opt, nil)
		if err := c.Soak(10 * time.Second); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		asked += c.witness.asked
	}
	t.Logf("%d seeds, the witness was asked %d times", seeds, asked)
	if asked == 0 {
		t.Error("the witness was never asked")
	}
}
