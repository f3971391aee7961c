package sim

import "testing"

// Three of four die for good in one moment; the last one waits for them for ever,
// and says for whom. By order it goes on alone. Others that come back join it.
func TestForcedStart(t *testing.T) {
	s := script(t, "cluster 4", "start all", "whole", "run 200ms", "propose 4 x durable", "run 200ms")
	c := s.c
	n4 := c.nodes[3]
	do(t, s, "crash 1", "crash 2", "crash 3", "run 15s")
	if n4.seen.State == "member" && n4.lease > n4.clock.at(c.now) {
		t.Fatal("one of four acts without an order")
	}
	if w := n4.m.Inspect().Search; w == nil || w.Empty || len(w.Need) != 4 || len(w.Here) != 1 {
		t.Fatalf("what it waits for: %+v", w)
	}
	gen := n4.disk.rec.Stamp.Epoch.Generation()
	do(t, s, "crash 4", "force 4")
	if err := s.until(func() bool { return n4.seen.State == "member" && n4.lease > n4.clock.at(c.now) }, "the forced node to act"); err != nil {
		t.Fatal(err)
	}
	if got := n4.seen.Copy.Epoch.Generation(); got <= gen {
		t.Errorf("generation %d after %d", got, gen)
	}
	do(t, s, "start 1", "start 2", "start 3", "whole", "run 1s")
	if n4.force && n4.seen.State != "member" {
		t.Error("the order outlived its use")
	}
}

// A forced node that reaches a running cluster joins it.
func TestForcedBesideAPrimary(t *testing.T) {
	s := script(t, "cluster 4", "start all", "whole", "run 200ms", "crash 4", "run 1s")
	gen := s.c.nodes[0].seen.Copy.Epoch.Generation()
	do(t, s, "force 4", "whole", "run 500ms")
	if got := s.c.nodes[3].seen.Copy.Epoch.Generation(); got != gen {
		t.Errorf("generation %d, the cluster's is %d", got, gen)
	}
}

// What the order risks: two halves that cannot hear each other are both forced.
// They are two clusters then, and stay so when they meet: neither takes the
// other's token. The half that is restarted joins the other.
func TestTwoForcedHalves(t *testing.T) {
	s := script(t, "cluster 4")
	s.c.opt.Only = 3 // there will be two lineages
	do(t, s, "start all", "whole", "run 200ms", "part 1 2", "crash 1", "crash 2", "crash 3", "crash 4")
	do(t, s, "force 1", "start 2", "force 3", "start 4")
	c := s.c
	acts := func(i int) bool { n := c.nodes[i]; return n.up && n.lease > n.clock.at(c.now) }
	if err := s.until(func() bool { return acts(0) && acts(1) && acts(2) && acts(3) }, "both halves to act"); err != nil {
		t.Fatal(err)
	}
	a, b := c.nodes[0].seen.Copy.Epoch.Generation(), c.nodes[2].seen.Copy.Epoch.Generation()
	if a == b {
		t.Fatalf("both halves are of generation %d", a)
	}
	do(t, s, "heal", "run 3s")
	if got := c.nodes[2].seen.Copy.Epoch.Generation(); got != b || !acts(2) || !acts(0) {
		t.Errorf("after they met, one half is of generation %d, was %d", got, b)
	}
	do(t, s, "crash 3", "crash 4", "start 3", "start 4", "whole")
}
