package link

import (
	"fmt"
	"testing"
)

// world is both ends and the counts that are on their way, one for each
// transition, in order: the paper's tokens.
type world struct{ a, b History }

// key forgets what two worlds may differ in without behaving differently: how
// long the history is.
func (w world) key() string {
	base := min(w.a.h, w.b.h, w.a.seen, w.b.seen)
	return fmt.Sprint(w.a.up, w.b.up, w.a.want, w.b.want, w.a.h-base, w.b.h-base, w.a.seen-base, w.b.seen-base)
}

// coarse also forgets the wish to go Up, which the paper's state does not hold.
func (w world) coarse() string {
	w.a.want, w.b.want = false, false
	return w.key()
}

func (w world) next() map[string]world {
	out := map[string]world{}
	try := func(name string, f func(w *world)) {
		n := w
		f(&n)
		out[name] = n
	}
	try("lost a", func(w *world) { w.a.Lost() })
	try("lost b", func(w *world) { w.b.Lost() })
	try("restored a", func(w *world) { w.a.Restored() })
	try("restored b", func(w *world) { w.b.Restored() })
	for c := w.b.seen + 1; c <= w.a.h; c++ {
		try(fmt.Sprint("a tells ", c), func(w *world) { w.b.Follow(c) })
	}
	for c := w.a.seen + 1; c <= w.b.h; c++ {
		try(fmt.Sprint("b tells ", c), func(w *world) { w.a.Follow(c) })
	}
	return out
}

func diff(a, b uint64) uint64 { return max(a, b) - min(a, b) }

func (w world) check(t *testing.T, n uint64) uint64 {
	t.Helper()
	d := diff(w.a.h, w.b.h)
	if d > n {
		t.Fatalf("slack %d: the histories differ by %d: %+v", n, d, w)
	}
	if (w.a.up != w.b.up) != (d%2 == 1) {
		t.Fatalf("slack %d: states and histories disagree: %+v", n, w)
	}
	if w.a.tokens() > n || w.b.tokens() > n || w.a.up && w.a.tokens() == 0 || w.b.up && w.b.tokens() == 0 {
		t.Fatalf("slack %d: tokens %d and %d: %+v", n, w.a.tokens(), w.b.tokens(), w)
	}
	if !w.a.Valid(w.b.h) || !w.b.Valid(w.a.h) {
		t.Fatalf("slack %d: an end would refuse an honest count: %+v", n, w)
	}
	return d
}

// reach returns all worlds that can be, by key.
func reach(t *testing.T, n int) (all map[string]world, coarse int) {
	t.Helper()
	start := world{NewHistory(n), NewHistory(n)}
	all = map[string]world{start.key(): start}
	seen := map[string]bool{start.coarse(): true}
	for todo := []world{start}; len(todo) > 0; {
		w := todo[0]
		todo = todo[1:]
		for _, x := range w.next() {
			if _, ok := all[x.key()]; !ok {
				all[x.key()] = x
				seen[x.coarse()] = true
				todo = append(todo, x)
			}
		}
	}
	return all, len(seen)
}

// TestEveryInterleaving walks all states of both ends, with counts that come
// late, together or out of order, for slack 2, 3 and 4.
func TestEveryInterleaving(t *testing.T) {
	// 33, 87 and 185 are the numbers that a model of the paper's machine gives.
	for n, states := range map[int]int{2: 33, 3: 87, 4: 185} {
		all, coarse := reach(t, n)
		var worst uint64
		for _, w := range all {
			worst = max(worst, w.check(t, uint64(n)))
		}
		if worst != uint64(n) {
			t.Errorf("slack %d: the worst difference is %d, want all of the slack used", n, worst)
		}
		if coarse != states {
			t.Errorf("slack %d: %d states, want %d", n, coarse, states)
		}
	}
}

// TestEveryStateSettles: from every state, a channel that stays dead brings
// both ends Down, one that stays alive brings both Up with equal histories and
// costs a bounded number of reports, whatever the order of events.
func TestEveryStateSettles(t *testing.T) {
	for n, most := range map[int]uint64{2: 4, 3: 5, 4: 6} {
		all, _ := reach(t, n)
		var worst uint64
		for _, w := range all {
			dead := w
			dead.a.Lost()
			dead.b.Lost()
			if dead.a.up || dead.b.up {
				t.Fatalf("slack %d: Up on a dead channel: %+v", n, w)
			}
			worst = max(worst, settleUp(t, w, map[string]uint64{}))
		}
		if worst > most {
			t.Errorf("slack %d: settling cost up to %d reports, want at most %d", n, worst, most)
		}
		t.Logf("slack %d: %d states, settling costs at most %d reports", n, len(all), worst)
	}
}

// settleUp returns the most reports that a living channel can still cost from w.
// A cycle would be a channel that never settles.
func settleUp(t *testing.T, w world, done map[string]uint64) uint64 {
	t.Helper()
	k := w.key()
	if v, ok := done[k]; ok {
		if v == open {
			t.Fatalf("a living channel can go on reporting for ever: %+v", w)
		}
		return v
	}
	done[k] = open
	var worst uint64
	quiet := true
	for name, x := range w.next() {
		if name == "lost a" || name == "lost b" || x.key() == k {
			continue
		}
		quiet = false
		worst = max(worst, x.a.h-w.a.h+x.b.h-w.b.h+settleUp(t, x, done))
	}
	if quiet && (!w.a.up || !w.b.up || w.a.h != w.b.h || w.a.seen != w.b.h || w.b.seen != w.a.h) {
		t.Fatalf("a living channel came to rest like this: %+v", w)
	}
	done[k] = worst
	return worst
}

const open = ^uint64(0)

// TestSlackOfOne: an end that went Down could never come Up, so less than
// MinSlack is not to be had.
func TestSlackOfOne(t *testing.T) {
	h := NewHistory(1)
	if h.slack != MinSlack || !h.Restored() {
		t.Fatalf("slack 1: %+v", h)
	}
}
