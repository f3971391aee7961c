package queue

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"rain/ring"
)

// twin is a second, plain queue: what the properties are compared with.
type twin struct {
	view    ring.View
	owner   map[EntryID]ring.Member // of what runs
	effect  map[EntryID]bool
	outcome map[EntryID]string
	claimed uint64
}

func (w *twin) changeView(v ring.View) {
	w.view = v
	var lost []EntryID
	for id, m := range w.owner {
		if !v.Has(m) {
			lost = append(lost, id)
		}
	}
	slices.SortFunc(lost, func(a, b EntryID) int {
		switch {
		case a.Member != b.Member && a.Member.Less(b.Member):
			return -1
		case a.Member != b.Member:
			return 1
		}
		return int(int64(a.N) - int64(b.N))
	})
	for i, id := range lost {
		w.owner[id] = v.Members[(v.Number+uint64(i))%uint64(len(v.Members))].Member
		w.claimed++
	}
}

// draw makes one step: an op of some member, or another view.
type step struct {
	from ring.Member
	op   *Op
	view ring.View
}

func drawStep(t *rapid.T, number uint64) step {
	inc := func() int { return rapid.IntRange(1, 2).Draw(t, "inc") }
	some := func() ring.Member { return member(rapid.IntRange(1, 4).Draw(t, "node"), inc()) }
	n := func() uint64 { return rapid.Uint64Range(1, 6).Draw(t, "n") }
	s := step{from: some()}
	switch rapid.IntRange(0, 7).Draw(t, "what") {
	case 0, 1:
		s.view = ring.View{Number: number}
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 1, 4, rapid.ID).Draw(t, "members") {
			s.view.Members = append(s.view.Members, ring.ViewMember{Member: member(i, inc()), Since: number})
		}
		slices.SortFunc(s.view.Members, func(a, b ring.ViewMember) int { return int(a.ID) - int(b.ID) })
	case 2, 3:
		op := begins(n())
		op.Offsets = []Progress{{n(), rapid.Uint64().Draw(t, "offset")}}
		op.Ends = []uint64{n()}
		s.op = &op
	case 4:
		key := rapid.SampledFrom([]string{"", "j", "k"}).Draw(t, "key")
		s.op = &Op{Kind: OpBegin, N: 10 + n(), Effect: post(key, byte(rapid.IntRange(1, 2).Draw(t, "print")))}
	case 5:
		op := finish(EntryID{some(), 10 + n()}, "x")
		s.op = &op
	case 6:
		s.op = &Op{Kind: OpSettle, IDs: []EntryID{{some(), n()}}}
	case 7:
		s.op = &Op{Kind: OpAbandon, ID: EntryID{some(), 10 + n()}}
	}
	return s
}

// TestProperties: whatever ops and views come, each running entry has the one
// owner that the twin says, of the newest view; each effect one outcome and one
// inner op; a restored replica is equal, byte for byte.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &twin{owner: map[EntryID]ring.Member{}, effect: map[EntryID]bool{}, outcome: map[EntryID]string{}}
		ba, bb := &book{}, &book{}
		a := NewRider(map[ring.RiderID]Applier{ring.RiderCatalog: ba})
		b := NewRider(map[ring.RiderID]Applier{ring.RiderCatalog: bb})
		steps := rapid.IntRange(1, 40).Draw(t, "steps")
		half := rapid.IntRange(1, steps).Draw(t, "half")
		for i := 1; i <= steps; i++ {
			index := uint64(i)
			s := drawStep(t, index)
			if i == half {
				restore(t, a, b)
				if rapid.Bool().Draw(t, "told") { // after a start from the disk nobody does
					b.View(index-1, a.Table().View, 1000)
				}
				bb.ops = slices.Clone(ba.ops)
			}
			if s.op == nil {
				a.View(index, s.view, ring.Instant(i))
				b.View(index, s.view, ring.Instant(2*i))
				w.changeView(s.view)
				w.check(t, a.Table())
				continue
			}
			raw, err := s.op.Encode()
			if err != nil {
				t.Fatal(err)
			}
			ra, rb := a.Apply(index, s.from, raw), b.Apply(index, s.from, raw)
			if !bytes.Equal(ra, rb) {
				t.Fatalf("step %d: results differ: %x, %x", i, ra, rb)
			}
			v, err := ParseVerdict(ra)
			if err != nil {
				t.Fatal(err)
			}
			w.learn(t, s, v)
			w.check(t, a.Table())
			if len(ba.ops) != len(w.outcome) {
				t.Fatalf("step %d: %d inner ops, %d outcomes", i, len(ba.ops), len(w.outcome))
			}
		}
		if x, y := dump(t, a), dump(t, b); !bytes.Equal(x, y) {
			t.Fatalf("replicas differ\n%x\n%x", x, y)
		}
	})
}

// learn repeats on the twin what the op did.
func (w *twin) learn(t *rapid.T, s step, v Verdict) {
	if !w.view.Has(s.from) {
		if v.Kind != NotMember {
			t.Fatalf("%s is not in the view and got %s", s.from, v.Kind)
		}
		return
	}
	switch s.op.Kind {
	case OpBatch:
		if id := (EntryID{s.from, s.op.Begins[0].N}); w.owner[id].IsZero() {
			w.owner[id] = s.from
		}
		if id := (EntryID{s.from, s.op.Ends[0]}); w.owner[id] == s.from {
			delete(w.owner, id)
		}
	case OpBegin:
		if _, ended := w.outcome[v.ID]; v.Kind == New && !ended {
			w.owner[v.ID], w.effect[v.ID] = s.from, true
		}
	case OpFinish:
		if right := w.effect[s.op.ID] && w.owner[s.op.ID] == s.from; right != (v.Kind == Recorded) {
			t.Fatalf("finish of %s by %s: %s, owner %s", s.op.ID, s.from, v.Kind, w.owner[s.op.ID])
		}
		if v.Kind == Recorded {
			w.outcome[v.ID] = string(v.Outcome.Result)
			delete(w.owner, v.ID)
		}
		if v.Kind == Ended && string(v.Outcome.Result) != w.outcome[v.ID] {
			t.Fatalf("the outcome of %s changed to %q", v.ID, v.Outcome.Result)
		}
	case OpAbandon:
		if v.Kind == OK {
			delete(w.owner, s.op.ID)
			delete(w.effect, s.op.ID)
		}
	case OpSettle:
		if id := s.op.IDs[0]; w.owner[id] == s.from && id.Member != s.from && !w.effect[id] {
			delete(w.owner, id)
		}
	}
}

// check compares owners and the rest that must always hold.
func (w *twin) check(t *rapid.T, tab *Table) {
	seen := 0
	keys := map[string]bool{}
	tab.Running(func(e *Entry) bool {
		seen++
		if e.Owner != w.owner[e.ID] || !w.view.Has(e.Owner) || (e.State == Claimed) != (e.Claims > 0) {
			t.Fatalf("entry %s: owner %s, twin says %s, state %s", e.ID, e.Owner, w.owner[e.ID], e.State)
		}
		if e.HasKey {
			if keys[e.keyName()] {
				t.Fatalf("two effects with one key")
			}
			keys[e.keyName()] = true
		}
		return true
	})
	claims := 0
	for _, m := range w.view.Members {
		claims += len(tab.Claims(m.Member))
	}
	if seen != len(w.owner) || tab.Length() != seen || claims != tab.claims.Len() || tab.Claimed != w.claimed {
		t.Fatalf("%d run, twin has %d, length %d; %d claims of %d; claimed %d, twin %d",
			seen, len(w.owner), tab.Length(), claims, tab.claims.Len(), tab.Claimed, w.claimed)
	}
}

func dump(t interface{ Fatal(...any) }, r *Rider) []byte {
	var b bytes.Buffer
	if err := r.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// restore makes to what from is, and checks that nothing gets lost on the way.
func restore(t interface{ Fatal(...any) }, from, to *Rider) {
	b := dump(t, from)
	if err := to.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	x, y := from.live, to.live
	if got := dump(t, to); !bytes.Equal(b, got) || x.effectBytes != y.effectBytes || x.ended != y.ended ||
		x.keys.Len() != y.keys.Len() || x.claims.Len() != y.claims.Len() || !slices.Equal(from.keyed, to.keyed) || !slices.Equal(from.unkeyed, to.unkeyed) {
		t.Fatal(fmt.Sprintf("restored differs:\n%x\n%x", b, got))
	}
}
