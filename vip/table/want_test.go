package table

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"rain/ring"
)

// genTable draws a reachable-looking table.
func genTable(t *rapid.T, pins bool) *Table {
	n, m := rapid.IntRange(0, 12).Draw(t, "addresses"), rapid.IntRange(1, 6).Draw(t, "members")
	var ids []int
	for i := range m {
		ids = append(ids, i+1)
	}
	tab := &Table{View: view(1, ids...)}
	for _, p := range pool(n).Addresses {
		e := Entry{Address: Address{Prefix: p}}
		if o := rapid.IntRange(0, m+1).Draw(t, "owner"); o > 0 { // m+1 is not in the view
			e.Owner = member(o)
		}
		if pins && rapid.Bool().Draw(t, "pinned") {
			e.Pin = ring.NodeID(rapid.IntRange(1, m+1).Draw(t, "pin"))
		}
		tab.Entries = append(tab.Entries, e)
	}
	for _, id := range ids {
		if rapid.IntRange(0, 3).Draw(t, "draining") == 0 {
			tab.Draining = append(tab.Draining, member(id))
		}
	}
	return tab
}

func moves(t *Table, want map[netip.Addr]ring.Member) (n int) {
	for _, e := range t.Entries {
		if want[e.Addr()] != e.Owner {
			n++
		}
	}
	return n
}

// fewest tries every even spread: the dumb twin of Want without pins.
func fewest(t *Table) int {
	shares := t.shares()
	lo, hi := len(t.Entries)/len(shares), (len(t.Entries)+len(shares)-1)/len(shares)
	best := len(t.Entries) + 1
	counts := make([]int, len(shares))
	var try func(i, moved int)
	try = func(i, moved int) {
		if moved >= best {
			return
		}
		if i == len(t.Entries) {
			if slices.Min(counts) >= lo && slices.Max(counts) <= hi {
				best = moved
			}
			return
		}
		for k, s := range shares {
			if counts[k] == hi {
				continue
			}
			counts[k]++
			d := 1
			if s.m == t.Entries[i].Owner {
				d = 0
			}
			try(i+1, moved+d)
			counts[k]--
		}
	}
	try(0, 0)
	return best
}

func TestWantIsEvenStickyDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := genTable(t, false)
		want := tab.Want()
		shares := tab.shares()
		if len(shares) == 0 {
			if len(want) != 0 {
				t.Fatalf("all drain, want %v", want)
			}
			return
		}
		if len(want) != len(tab.Entries) {
			t.Fatalf("%d of %d addresses placed", len(want), len(tab.Entries))
		}
		count := map[ring.Member]int{}
		for _, m := range want {
			count[m]++
		}
		lo, hi := len(tab.Entries), 0
		for _, s := range shares {
			lo, hi = min(lo, count[s.m]), max(hi, count[s.m])
			delete(count, s.m)
		}
		if hi-lo > 1 || len(count) != 0 {
			t.Fatalf("uneven or to draining members: %v", want)
		}
		if len(tab.Entries) <= 8 && len(shares) <= 4 {
			if got, best := moves(tab, want), fewest(tab); got != best {
				t.Fatalf("%d moves, %d would do", got, best)
			}
		}
		for i := range tab.Entries {
			tab.Entries[i].Owner = want[tab.Entries[i].Addr()]
		}
		if again := tab.Want(); moves(tab, again) != 0 {
			t.Fatalf("no fixed point: %v, then %v", want, again)
		}
	})
}

func TestWantHonoursPins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := genTable(t, true)
		want := tab.Want()
		load, pinned := map[ring.Member]int{}, map[ring.Member]int{}
		for _, e := range tab.Entries {
			m, ok := want[e.Addr()]
			if !ok {
				if len(tab.shares()) > 0 {
					t.Fatalf("%s has no place", e.Addr())
				}
				return
			}
			load[m]++
			pin := member(int(e.Pin))
			if e.Pin == 0 || !tab.View.Has(pin) || tab.IsDraining(pin) {
				continue
			}
			pinned[m]++
			if m != pin {
				t.Fatalf("%s is pinned to %s, want says %s", e.Addr(), pin, m)
			}
		}
		// Level: who has more than another plus one has nothing that could move.
		for _, a := range tab.shares() {
			for _, b := range tab.shares() {
				if load[a.m] > load[b.m]+1 && load[a.m] > pinned[a.m] {
					t.Fatalf("%s has %d, %s has %d, and not all pinned", a.m, load[a.m], b.m, load[b.m])
				}
			}
		}
	})
}
