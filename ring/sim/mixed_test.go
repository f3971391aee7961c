package sim

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A ring in which some members are spoken to in the wire version before: doubts are
// lost on the way, every suspect that comes back is sure, and grants bear no witness.
// That may cost views, never an invariant.
func TestMixedWire(t *testing.T) {
	seeds, first := env(t, "SEEDS", 60), env(t, "FIRST", 1)
	for seed := first; seed < first+seeds; seed++ {
		opt := Random(seed)
		opt.OldWire = rand.New(rand.NewPCG(seed, 0x01d)).Uint64()
		if err := New(seed, opt, nil).Soak(10 * time.Second); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// One member of four is spoken to in the version before; another one dies. The
// survivors leave it out and go on, with either kind of detection.
func TestMixedWireLeavesTheDeadOut(t *testing.T) {
	for old := range 4 {
		for dead := range 4 {
			for _, aggressive := range []bool{false, true} {
				s := script(t, "cluster 4 laptop")
				s.c.opt.OldWire, s.c.opt.Aggressive = 1<<old, aggressive
				do(t, s, "start all", "whole", "run 300ms")
				s.c.crash(s.c.nodes[dead])
				from := s.c.now
				do(t, s, "whole")
				if took := time.Duration(s.c.now - from); took > time.Second {
					t.Errorf("sim: invariant 6 (liveness) broken: node %d was left out after %v, node %d speaks the old version", dead+1, took, old+1)
				}
			}
		}
	}
}
