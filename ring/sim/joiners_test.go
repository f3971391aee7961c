package sim

import "testing"

// A founder that is alone has three joiners, and is cut off in the moment in which
// it lets in the first. That one never comes by, but the view with it stands: the
// founder alone is a quorum of it. The other two must wait until the first is a
// member in earnest; were they let in beside it, the founder would need one of three
// whose disks are empty, and nothing could ever start from its own. (Seed 29813.)
func TestALoneMemberDoesNotOutgrowItself(t *testing.T) {
	s := script(t, "cluster 4 lan", "founders 1", "start 1", "whole", "start 2 3 4")
	one := s.c.nodes[0]
	if err := s.until(func() bool { return len(one.seen.Newest.Members) == 2 }, "the first let in"); err != nil {
		t.Fatal(err)
	}
	do(t, s, "part 1", "run 3s")
	if n := len(one.seen.Newest.Members); n > 2 {
		t.Errorf("sim: invariant 6 (liveness) broken: node 1 let in %d members while cut off from all", n-1)
	}
	do(t, s, "heal", "whole")
	if n := len(one.seen.Newest.Members); n != 4 {
		t.Errorf("%d members in the end, want 4", n)
	}
}

// A lone founder lets in a second, which dies before it has a disk, and leaves. It
// must not leave the ring to that one. (Seed 34157.)
func TestNobodyLeavesToWhoNeverCame(t *testing.T) {
	s := script(t, "cluster 2 lan", "founders 1", "start 1", "whole", "start 2")
	one := s.c.nodes[0]
	if err := s.until(func() bool { return len(one.seen.Newest.Members) == 2 }, "the second let in"); err != nil {
		t.Fatal(err)
	}
	do(t, s, "crash 2", "leave 1", "run 100ms")
	if one.up && !one.seen.Newest.Has(one.me) {
		t.Error("sim: invariant 6 (liveness) broken: node 1 leaves the ring to node 2, whose disk is empty")
	}
	do(t, s, "run 3s", "crash 1", "start all", "whole")
}
