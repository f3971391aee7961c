package sim

import (
	"fmt"
	"testing"
	"time"
)

// Node 4 stands for a while and is taken for dead. It is heard from again while the
// change without it is not settled: node 1, which decides between two halves, has a
// slow disk. So the token comes to node 4, and node 4's own disk settles the change.
// It begins a new life at once and comes again; it does not wait until it has been
// isolated for so long that disks are asked.
func TestWhoSettlesItsOwnEndComesAgain(t *testing.T) {
	var worst time.Duration
	settledItself := 0
	for stand := 60 * time.Millisecond; stand <= 80*time.Millisecond; stand += time.Millisecond {
		s := script(t, "cluster 4 lan", "aggressive", "start all", "whole", "run 50ms", "hang 1")
		four := s.c.nodes[3]
		do(t, s, fmt.Sprintf("pause 4 %v", stand), fmt.Sprintf("run %v", stand))
		from := s.c.now
		itself := false
		if err := s.until(func() bool {
			itself = itself || four.life == 1 && four.seen.Newest.Number == 2 && len(four.seen.Views) == 1
			return four.life == 2 && four.seen.State == "member"
		}, "node 4 a member again"); err != nil {
			t.Fatal(err)
		}
		if itself {
			settledItself++
		}
		worst = max(worst, time.Duration(s.c.now-from))
	}
	t.Logf("a member again after at most %v; node 4 settled the view without it itself in %d stories", worst, settledItself)
	if settledItself == 0 {
		t.Error("the story went another way: node 4 never settled the view without it")
	}
	if worst > 50*time.Millisecond {
		t.Errorf("sim: invariant 6 (liveness) broken: node 4 is a member again after %v, want at most 50ms", worst)
	}
}
