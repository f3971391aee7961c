package sim

import "testing"

// pending reports whether a node's newest view is still pending.
func pending(n *node) bool { return len(n.seen.Views) == 2 }

// open lets datagrams pass between nodes again, both ways.
func (c *Cluster) open(pairs ...[2]int) {
	for _, p := range pairs {
		c.cut[p[0]-1][p[1]-1], c.cut[p[1]-1][p[0]-1] = 0, 0
	}
}

// The same view change twice. Node 3 leaves node 1 out, and only node 4 hears of
// it. The others make an epoch without that change; node 3 comes back to them, and
// node 1's lease is renewed. Then node 1 freezes, and node 3 leaves it out again, by
// a view change that says just what the first one said. Node 4, who missed all
// between, must count the wait from the second one.
func TestSameViewTwice(t *testing.T) {
	s := script(t, "cluster 7", "aggressive", "start all", "whole", "own 1 0", "run 300ms")
	c := s.c
	n := func(i int) *node { return c.nodes[i-1] }
	until := func(what string, done func() bool) {
		t.Helper()
		if err := s.until(done, what); err != nil {
			t.Fatal(err)
		}
	}
	// Node 7's death leaves a view pending: the disks hang, so nobody is left out
	// together with an epoch, but later, with the whole wait.
	do(t, s, "hang 1", "hang 2", "hang 3", "hang 4", "hang 5", "hang 6", "crash 7")
	until("a pending view without node 7", func() bool {
		for i := 1; i <= 6; i++ {
			if !pending(n(i)) || n(i).seen.Newest.Has(n(7).me) {
				return false
			}
		}
		return true
	})
	// Node 1 is cut off and suspected. Node 3's disk decides when the view settles.
	do(t, s, "holder 3", "part 1")
	until("node 1 suspected", func() bool { return n(3).seen.Holding && len(n(3).seen.Suspects) == 2 })
	epoch := n(3).seen.Copy.Epoch
	do(t, s, "unhang 2", "unhang 4", "unhang 5", "run 20ms", "unhang 3")
	until("node 3's change at node 4", func() bool { return n(4).seen.Holding && !n(4).seen.Newest.Has(n(1).me) })
	if n(3).seen.Copy.Epoch != epoch || n(5).seen.Newest.Number == n(4).seen.Newest.Number {
		t.Fatal("the story went another way")
	}
	first := c.now
	// Nodes 3 and 4 are alone now, each; the rest makes an epoch. Disks 1 and 5 hang.
	do(t, s, "part 3", "part 4", "hang 3", "hang 5")
	c.open([2]int{1, 2}, [2]int{1, 5}, [2]int{1, 6})
	until("an epoch of the others", func() bool { return n(1).seen.Copy.Epoch > epoch && n(1).seen.Holding })
	c.open([2]int{3, 1}, [2]int{3, 2}, [2]int{3, 5}, [2]int{3, 6})
	until("node 3 among them", func() bool { return n(3).seen.Copy.Epoch > epoch })
	if !pending(n(3)) || !n(3).seen.Newest.Has(n(1).me) {
		t.Fatal("node 3 still has its change")
	}
	lease := n(1).lease
	until("node 1's lease renewed, after node 4 is done with waiting", func() bool {
		return n(1).lease > lease && c.now > first+int64(c.opt.Timing.Wait()) && !n(1).seen.Holding
	})
	epoch = n(3).seen.Copy.Epoch
	do(t, s, "pause 1 1s")
	until("node 1 suspected again", func() bool { return n(3).seen.Copy.Epoch > epoch && len(n(3).seen.Suspects) == 3 })
	// While node 2 holds the token, node 3's disk gets done and node 4 is heard, by
	// node 3 only: so the view settles at node 3 and node 4 is no suspect any more.
	do(t, s, "unhang 5", "unhang 6", "run 8ms", "holder 2", "pause 2 10ms", "unhang 3")
	c.open([2]int{3, 4})
	until("the change at node 4 again", func() bool { return n(4).seen.Copy.Epoch > epoch })
	if n(4).seen.Newest.Has(n(1).me) || n(4).hold[0].to != 0 {
		t.Fatal("the story went another way")
	}
	do(t, s, "heal")
	until("the view without node 1 delivered at node 4", func() bool { return !n(4).st.view.Has(n(1).me) })
	if n(1).hold[0].to <= c.now {
		t.Fatal("node 1's lease is over already: the test proves nothing")
	}
	do(t, s, "own 4 0", "run 500ms")
	if n(4).hold[0].to <= c.now {
		t.Error("node 4 does not act in the end")
	}
}

// Trap 9: amnesia. Nodes 1 and 2 commit an op that node 3 has not heard of. Node 2
// restarts, node 1 is cut off: node 3 asks for leave to make a token, and the new
// life of node 2 remembers nothing. It has no vote, so nothing may be made.
func TestAmnesia(t *testing.T) {
	s := script(t, "cluster 3", "start all", "whole", "run 200ms", "holder 1", "part 3", "propose 1 x")
	c := s.c
	one, two, three := c.nodes[0], c.nodes[1], c.nodes[2]
	if err := s.until(func() bool { return len(one.props) == 0 }, "the op to be committed"); err != nil {
		t.Fatal(err)
	}
	if three.seen.Last >= one.seen.Commit {
		t.Fatal("node 3 has the op")
	}
	do(t, s, "part 1", "crash 2", "start 2")
	c.open([2]int{2, 3})
	before := three.seen.Copy.Epoch
	do(t, s, "run 600ms") // ended by a restart of node 3's ring, after a second alone
	if three.seen.State != "member" || three.seen.Copy.Epoch != before || two.seen.State != "seeking" {
		t.Errorf("sim: invariant 2 (one sequence) broken: node 3 is %s with epoch %s, before %s", three.seen.State, three.seen.Copy.Epoch, before)
	}
}
