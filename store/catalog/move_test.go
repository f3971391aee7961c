package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"rain/ring"
)

func moveOp(t testing.TB, body Sum, column int, from, to ring.NodeID) []byte {
	t.Helper()
	op, err := EncodeMove(body, column, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// addCare gives a table what came with layouts.
func addCare(t testing.TB, tab *Table) {
	safe, _ := EncodeBucket("safe", 4, 2, 2)
	apply(t, tab, 900, safe)
	layout, _ := EncodeLayout(0, Layout{Nodes: []ring.NodeID{3, 7, 9, 20}, Heirs: []Heir{{1, 20}}})
	apply(t, tab, 901, layout)
	r := mixed(3)
	if got := apply(t, tab, 902, moveOp(t, r.Derive().Body, 0, 7, 20)); got.Outcome != Moved {
		t.Fatalf("move: %+v", got)
	}
}

func TestMoveOutcomes(t *testing.T) {
	tab := New(nil)
	apply(t, tab, 1, bucketOp(t, "bucket"))
	r := mixed(3) // on 7, 3, 9
	body := r.Derive().Body
	put(t, tab, 2, "bucket", "a", Cond{}, r)
	other := r
	other.Type = "text/html"
	put(t, tab, 3, "bucket", "b", Cond{}, other)
	frozen := tab.Now()
	for i, c := range []struct {
		what     string
		column   int
		from, to ring.NodeID
		want     Outcome
	}{
		{"to a spare", 0, 7, 20, Moved},
		{"again", 0, 7, 20, CondFailed},
		{"to one that has a column", 1, 3, 9, CondFailed},
		{"to one that was chosen for another column", 1, 3, 7, CondFailed},
		{"a column that is not there", 3, 7, 21, CondFailed},
		{"another column", 2, 9, 21, Moved},
		{"on", 0, 20, 22, Moved},
		{"and back", 0, 22, 7, Moved},
		{"all back", 2, 21, 9, Moved},
		{"and off again", 2, 9, 21, Moved},
	} {
		if got := apply(t, tab, uint64(10+i), moveOp(t, body, c.column, c.from, c.to)); got.Outcome != c.want {
			t.Errorf("%s: outcome %d, want %d", c.what, got.Outcome, c.want)
		}
		checkRoundTrip(t, tab)
	}
	for _, key := range []string{"a", "b"} {
		rec := tab.Now().Get("bucket", key)
		if !slices.Equal(rec.Nodes, []ring.NodeID{7, 3, 21}) || !slices.Equal(rec.Origin, r.Nodes) || rec.Body != body || rec.Derive().Body != body {
			t.Errorf("%s lies on %v, put on %v", key, rec.Nodes, rec.Origin)
		}
	}
	if rec := frozen.Get("bucket", "a"); !slices.Equal(rec.Nodes, r.Nodes) {
		t.Errorf("an old view shows %v", rec.Nodes)
	}
	// A put of the same content finds the places as they are now.
	put(t, tab, 30, "bucket", "c", Cond{}, r)
	if rec := tab.Now().Get("bucket", "c"); !slices.Equal(rec.Nodes, []ring.NodeID{7, 3, 21}) {
		t.Errorf("a new object of the body lies on %v", rec.Nodes)
	}
	if _, err := EncodePut("bucket", "d", Cond{}, *tab.Now().Get("bucket", "c")); !errors.Is(err, ErrMalformed) {
		t.Errorf("a put with moved columns: %v", err)
	}
	if got := apply(t, tab, 31, moveOp(t, sumFor(77), 0, 1, 2)); got.Outcome != NoObject {
		t.Errorf("move of nothing: %+v", got)
	}
	for _, bad := range []struct {
		column   int
		from, to ring.NodeID
	}{{-1, 1, 2}, {MaxColumns, 1, 2}, {0, 1, 1}, {0, 0, 1}, {0, 1, 0}} {
		if _, err := EncodeMove(body, bad.column, bad.from, bad.to); !errors.Is(err, ErrMalformed) {
			t.Errorf("move %+v was encoded", bad)
		}
	}
}

func TestLayoutOutcomes(t *testing.T) {
	tab := New(nil)
	set := func(index, base uint64, l Layout) Result {
		op, err := EncodeLayout(base, l)
		if err != nil {
			t.Fatal(err)
		}
		return apply(t, tab, index, op)
	}
	nodes := []ring.NodeID{1, 2, 3}
	if got := set(1, 5, Layout{Nodes: nodes}); got.Outcome != CondFailed || tab.Now().Layout() != nil {
		t.Errorf("on a base that is not there: %+v", got)
	}
	if got := set(2, 0, Layout{Nodes: nodes}); got.Outcome != Created || got.Version != 2 {
		t.Errorf("the first layout: %+v", got)
	}
	if got := set(3, 0, Layout{Nodes: nodes[:1]}); got.Outcome != CondFailed || got.Version != 2 {
		t.Errorf("of two at once: %+v", got)
	}
	if got := set(4, 2, Layout{Nodes: []ring.NodeID{1, 3, 4}, Heirs: []Heir{{2, 4}}}); got.Outcome != Replaced || got.Version != 4 {
		t.Errorf("the next: %+v", got)
	}
	l := tab.Now().Layout()
	if !l.Has(4) || l.Has(2) || l.HeirOf(2) != 4 || l.HeirOf(3) != 0 || l.Version != 4 {
		t.Errorf("layout %+v", l)
	}
	checkRoundTrip(t, tab)
	for _, bad := range []Layout{
		{}, {Nodes: []ring.NodeID{2, 1}}, {Nodes: []ring.NodeID{1, 1}}, {Nodes: []ring.NodeID{0}},
		{Nodes: nodes, Heirs: []Heir{{1, 2}}}, {Nodes: nodes, Heirs: []Heir{{9, 8}}}, {Nodes: nodes, Heirs: []Heir{{9, 1}, {8, 1}}},
	} {
		if _, err := EncodeLayout(0, bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("layout %+v: %v", bad, err)
		}
	}
}

func TestBucketInfo(t *testing.T) {
	tab := New(nil)
	op, err := EncodeBucket("films", 6, 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, tab, 1, op)
	put(t, tab, 2, "films", "k", Cond{}, rec(1))
	for range 2 {
		i, ok := tab.Now().Bucket("films")
		if want := (BucketInfo{6, 4, 2, 1}); i != want || !ok {
			t.Errorf("bucket %+v, want %+v", i, want)
		}
		if _, ok := tab.Now().Bucket("none"); ok {
			t.Error("there is no such bucket")
		}
		var b bytes.Buffer
		fresh := New(nil)
		if err := errors.Join(tab.Snapshot(&b), fresh.Restore(&b)); err != nil {
			t.Fatal(err)
		}
		tab = fresh
	}
}

// TestMovesAgainstModel moves, puts and deletes at random: all objects with one
// body agree on its places, and what is told of changes adds up to them.
func TestMovesAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		holds := map[Sum]map[ring.NodeID]bool{} // as the changes tell
		tab := New(func(c Change) {
			if c.Needed {
				holds[c.Rec.Body] = map[ring.NodeID]bool{}
				for _, id := range c.Rec.Nodes {
					holds[c.Rec.Body][id] = true
				}
			} else {
				delete(holds, c.Rec.Body)
			}
		})
		apply(t, tab, 0, bucketOp(t, "bucket"))
		apply(t, tab, 0, bucketOp(t, "other"))
		model := map[string]*Record{}
		places := map[Sum][]ring.NodeID{}
		for i := range rapid.IntRange(1, 120).Draw(rt, "ops") {
			bucket := rapid.SampledFrom([]string{"bucket", "other"}).Draw(rt, "bucket")
			key := fmt.Sprintf("k%02d", rapid.IntRange(0, 12).Draw(rt, "key"))
			r := mixed(rapid.IntRange(0, 12).Draw(rt, "body"))
			body := r.Derive().Body
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				op, _ := EncodeDelete(bucket, key, Cond{})
				apply(t, tab, uint64(i+1), op)
				delete(model, bucket+"/"+key)
			case 1:
				put(t, tab, uint64(i+1), bucket, key, Cond{}, r)
				model[bucket+"/"+key] = r.Derive()
			default:
				column := rapid.IntRange(0, 3).Draw(rt, "column")
				from := ring.NodeID(rapid.IntRange(1, 12).Draw(rt, "from"))
				if now := places[body]; column < len(now) && rapid.Bool().Draw(rt, "right") {
					from = now[column]
				}
				to := ring.NodeID(rapid.IntRange(1, 12).Draw(rt, "to"))
				if from == to {
					continue
				}
				now, there := places[body]
				ok := there && column < len(now) && now[column] == from && !slices.Contains(now, to)
				if i := slices.Index(r.Nodes, to); i >= 0 && i != column {
					ok = false
				}
				got := apply(t, tab, uint64(i+1), moveOp(t, body, column, from, to))
				if (got.Outcome == Moved) != ok {
					rt.Fatalf("move column %d of %v from %d to %d: outcome %d", column, now, from, to, got.Outcome)
				}
				if ok {
					now = slices.Clone(now)
					now[column] = to
					places[body] = now
				}
			}
			alive := map[Sum]bool{}
			for _, rec := range model {
				if rec.Striped() {
					alive[rec.Body] = true
					if places[rec.Body] == nil {
						places[rec.Body] = rec.Nodes
					}
				}
			}
			maps.DeleteFunc(places, func(s Sum, _ []ring.NodeID) bool { return !alive[s] })
		}
		checkPlaces(rt, tab, places, holds)
		checkRoundTrip(rt, tab)
	})
}

func checkPlaces(t fataler, tab *Table, places map[Sum][]ring.NodeID, holds map[Sum]map[ring.NodeID]bool) {
	v := tab.Now()
	seen := map[Sum]*Record{}
	for _, b := range v.Buckets() {
		v.List(b, "", "", func(key string, r *Record) bool {
			if !slices.Equal(r.Nodes, places[r.Body]) {
				t.Fatalf("%s/%s lies on %v, want %v", b, key, r.Nodes, places[r.Body])
			}
			known, _ := v.Body(r.Body)
			if !slices.Equal(known.Rec.Nodes, r.Nodes) || !slices.Equal(known.Rec.Origin, r.Origin) {
				t.Fatalf("%s/%s lies on %v, its body on %v", b, key, r.Nodes, known.Rec.Nodes)
			}
			for _, id := range r.Nodes {
				if !holds[r.Body][id] {
					t.Fatalf("%s/%s: %d was never told that it has a column", b, key, id)
				}
			}
			if r.Striped() && len(holds[r.Body]) != len(r.Nodes) {
				t.Fatalf("%s/%s: nodes %v were told, %v have it", b, key, holds[r.Body], r.Nodes)
			}
			if r.Striped() {
				seen[r.Body] = r
			}
			return true
		})
	}
	if len(seen) != len(places) {
		t.Fatalf("%d striped bodies, want %d", len(seen), len(places))
	}
	counted := 0
	v.Spreads(func(s Spread) bool { counted += s.Bodies; return true })
	if counted != len(seen) {
		t.Fatalf("the spreads count %d bodies, there are %d", counted, len(seen))
	}
}
