package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAttacks plays what an enemy of the protocol would try, each at many moments of
// a rotation and with clocks 5 % apart: the invariants are checked after every step,
// and in the end all are in one view. SHIFT is the moment.
func TestAttacks(t *testing.T) {
	for name, story := range map[string]string{
		// Two call for epochs of one number; the grants to one are lost, it gives up
		// and takes its promise to itself back, while a token of the old epoch lives.
		"two callers": "cluster 5; start all; whole; own 1 0; holder 1; run SHIFT; crash 1; run 65ms; cut 2 3; cut 4 3; cut 5 2; run 40ms; own 3 0; heal; start 1",
		// A granter freezes between its promise and its grant, and wakes after the
		// caller has gave up.
		"late grant": "cluster 4; start all; whole; own 1 0; holder 1; run SHIFT; stall 3 90ms; crash 1; run 50ms; own 2 0; run 100ms; stall 4 70ms; part 2; run 200ms; own 3 0; heal; start 1",
		// The owner freezes at the pass; its token is skipped, and it wakes inside
		// the waiting time.
		"owner sleeps": "cluster 3; start all; whole; own 1 0; holder 1; run SHIFT; pause 1 95ms; run 60ms; own 2 0; run 60ms; own 3 0; run 100ms",
		// Two of three die and are back within the lease of the third: nobody may let
		// them in by the old view.
		"two back at once": "cluster 3; start all; whole; own 1 0; run SHIFT; crash 2; crash 3; start 2 3; run 50ms; own 2 0",
		// A joiner gets the snapshot of a member that is just being left out.
		"snapshot of the removed": "cluster 4; start all; whole; own 2 0; crash 4; run 200ms; holder 2; run SHIFT; part 2; start 4; cut 4 1; cut 4 3; run 120ms; heal; own 4 0",
		// The holder dies with a joiner in its pending view; the joiner has the token.
		"joiner with the token": "cluster 4; start all; whole; own 1 0; crash 4; run 250ms; start 4; run 20ms; run SHIFT; holder 1; crash 1; run 100ms; own 4 0; run 100ms; start 1",
		// The maker of a cold start dies when some granters have its log, and another
		// two disks start without it.
		"cold maker dies": "cluster 4; start all; whole; own 1 0; propose 1 kept durable; run 100ms; crash 1; crash 2; crash 3; crash 4; start 1 2 3; run 320ms; run SHIFT; crash 1; run 30ms; start 4; run 400ms; start 1",
		// Half a founding: the maker dies before the other one's first record, the
		// rest founds; then the maker comes back with its disk.
		"founding twice": "cluster 3; start 1 2; run 330ms; run SHIFT; crash 1; crash 2; start 2 3; run 900ms; start 1",
		// A cold start beside a frozen owner with some lease left.
		"cold beside a sleeper": "cluster 3; start all; whole; own 1 0; holder 1; run SHIFT; pause 1 60ms; crash 2; crash 3; start 2 3; run 700ms; own 2 0; run 300ms",
		// A planned stop of the owner while its successor is cut off from the rest.
		"leaving in the dark": "cluster 4; start all; whole; own 2 0; holder 2; run SHIFT; part 3; leave 2; run 150ms; own 1 0; heal; run 200ms; start 2",
	} {
		for _, rates := range []string{"even", "slow owner", "fast owner"} {
			t.Run(strings.ReplaceAll(name, " ", "_")+"/"+strings.ReplaceAll(rates, " ", "_"), func(t *testing.T) {
				for shift := range 16 {
					attack(t, story, rates, time.Duration(shift)*700*time.Microsecond)
				}
			})
		}
	}
}

func attack(t *testing.T, story, rates string, shift time.Duration) {
	t.Helper()
	var lines []string
	for l := range strings.SplitSeq(story, "; ") {
		lines = append(lines, strings.ReplaceAll(l, "SHIFT", shift.String()))
	}
	s := script(t, lines[0])
	for i, n := range s.c.nodes {
		if i == 0 && rates == "slow owner" || i != 0 && rates == "fast owner" {
			n.clock.rate = million - 50_000
		} else if rates != "even" {
			n.clock.rate = million + 50_000
		}
	}
	for _, l := range append(lines[1:], "heal", "run 300ms", "whole", "run 300ms") {
		if err := s.Do(l); err != nil {
			t.Fatal(fmt.Errorf("shift %v: %w", shift, err))
		}
	}
}
