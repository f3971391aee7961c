package session

import (
	"bytes"
	"fmt"
	"go/build"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rain/ring"
)

func member(i int) ring.Member { return ring.Member{ID: ring.NodeID(i), Inc: 1} }

func view(n uint64, ids ...int) ring.View {
	v := ring.View{Number: n}
	for _, i := range slices.Sorted(slices.Values(ids)) {
		v.Members = append(v.Members, ring.ViewMember{Member: member(i), Since: 1})
	}
	return v
}

func sid(i int) ID { return ID{byte(i >> 8), byte(i)} }

var viewer = netip.MustParseAddr("192.0.2.7")

func TestCoreIsPure(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net", "os", "context", "log/slog", "crypto/rand", "math/rand", "math/rand/v2"} {
		if slices.Contains(pkg.Imports, bad) {
			t.Errorf("the core imports %q and can no longer run in the simulator", bad)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") && bytes.Contains(src, []byte("time.Now")) {
			t.Errorf("%s reads the clock", f)
		}
	}
}

// desk applies batches and views to a rider, one index after the other.
type desk struct {
	t      *testing.T
	r      *Rider
	index  uint64
	number map[int]uint64
}

func newDesk(t *testing.T) *desk { return &desk{t: t, r: NewRider(), number: map[int]uint64{}} }

func (d *desk) view(v ring.View) {
	d.index++
	d.r.View(d.index, v, 0)
}

func (d *desk) tell(from int, items ...Item) {
	d.t.Helper()
	d.number[from]++
	if got := d.again(from, items...); got != "" {
		d.t.Fatalf("batch of %d: %s", from, got)
	}
}

// again proposes with the number of the batch before.
func (d *desk) again(from int, items ...Item) string {
	d.index++
	return string(d.r.Apply(d.index, member(from), Batch{Number: d.number[from], At: 1000 * d.index, Items: items}.Append(nil)))
}

func (d *desk) entry(i int) Entry {
	d.t.Helper()
	e, ok := d.r.Find(sid(i))
	if !ok {
		d.t.Fatalf("no session %d", i)
	}
	return e
}

func begin(i int, position, bytes uint32) Item {
	return Item{Kind: Begin, ID: sid(i), Film: "demo", Rendition: "hls", Client: viewer, Position: position, Bytes: bytes}
}

func report(i int, position, bytes uint32) Item {
	return Item{Kind: Report, ID: sid(i), Position: position, Bytes: bytes}
}

// "its position never falls, but for the viewer's own seek back"
func TestPosition(t *testing.T) {
	d := newDesk(t)
	d.view(view(1, 1, 2))
	d.tell(1, begin(1, 0, 10))
	d.tell(1, report(1, 8000, 20))
	d.tell(2, report(1, 6000, 5)) // what another node sent before
	if e := d.entry(1); e.Position != 8000 || e.Bytes != 35 || e.Owner != member(1) || e.Client != viewer || e.Since != 2000 {
		t.Fatalf("%+v", e)
	}
	d.tell(2, Item{Kind: Report, ID: sid(1), Seeks: 1, Position: 2000, Bytes: 1})
	if e := d.entry(1); e.Position != 2000 || e.Seeks != 1 {
		t.Fatalf("after the viewer went back: %+v", e)
	}
	d.tell(1, report(1, 10000, 1)) // told late, of before the seek
	if e := d.entry(1); e.Position != 2000 || e.Bytes != 37 {
		t.Fatalf("after a late report: %+v", e)
	}
}

// "of two claims at once one counts"
func TestOwner(t *testing.T) {
	d := newDesk(t)
	d.view(view(1, 1, 2, 3))
	d.tell(1, begin(1, 0, 0))
	own := d.entry(1).OwnIndex
	d.tell(2, Item{Kind: Claim, ID: sid(1), Ref: own, Bytes: 1})
	d.tell(3, Item{Kind: Claim, ID: sid(1), Ref: own, Bytes: 1})
	if e := d.entry(1); e.Owner != member(2) || e.Moves != 1 || e.Bytes != 2 || !e.Confirmed() {
		t.Fatalf("two claims: %+v", e)
	}
	d.tell(1, Item{Kind: End, ID: sid(1), Ref: d.entry(1).Index}) // not the owner any more
	d.tell(2, Item{Kind: End, ID: sid(1), Ref: own})              // others have told of it since
	if d.r.Len() != 1 {
		t.Fatal("ended by who must not")
	}
	d.tell(2, Item{Kind: End, ID: sid(1), Ref: d.entry(1).Index})
	d.tell(2, report(1, 5, 5))
	if d.r.Len() != 0 || d.r.Totals() != (Totals{Begun: 1, Ended: 1, Bytes: 2}) {
		t.Fatalf("after the end: %d, %+v", d.r.Len(), d.r.Totals())
	}
}

// "a batch has a number, and one that was applied is not applied again"
func TestOnce(t *testing.T) {
	d := newDesk(t)
	d.view(view(1, 1, 2))
	d.tell(1, begin(1, 0, 10))
	if why := d.again(1, begin(1, 0, 10)); why != "" || d.entry(1).Bytes != 10 {
		t.Fatalf("%q, %d bytes", why, d.entry(1).Bytes)
	}
	d.view(view(2, 2))
	d.number[1]++
	if why := d.again(1, report(1, 0, 10)); !strings.Contains(why, "not in the view") || d.entry(1).Bytes != 10 {
		t.Fatalf("from outside the view: %q", why)
	}
	// Back as another incarnation, with the batch that it could not tell.
	v := view(3, 1, 2)
	v.Members[0].Inc = 2
	d.view(v)
	b := Batch{Number: d.number[1], Items: []Item{report(1, 0, 10)}}.Append(nil)
	for range 2 {
		d.index++
		if why := d.r.Apply(d.index, v.Members[0].Member, b); len(why) > 0 || d.entry(1).Bytes != 20 {
			t.Fatalf("%s, %d bytes", why, d.entry(1).Bytes)
		}
	}
}

// A dead node's sessions go to all that are left, and each to one.
func TestHeirs(t *testing.T) {
	d := newDesk(t)
	d.view(view(1, 1, 2, 3, 4))
	const n = 900
	for i := range n {
		d.tell(1, begin(i, 7, 0))
	}
	d.view(view(2, 2, 3, 4))
	got := map[ring.Member]int{}
	for _, e := range d.r.Entries() {
		got[e.Owner]++
		if e.Position != 7 || e.Moves != 1 || e.Confirmed() {
			t.Fatalf("%+v", e)
		}
	}
	for i := 2; i <= 4; i++ {
		if c := got[member(i)]; c < n/5 || c > n/2 {
			t.Errorf("%v: heirs are not even", got)
		}
	}
	if d.r.Totals().Taken != n {
		t.Errorf("%+v", d.r.Totals())
	}
}

func TestLimits(t *testing.T) {
	d := newDesk(t)
	d.view(view(1, 1))
	for i := 0; i < MaxSessions+10; {
		var items []Item
		for range 500 {
			items = append(items, begin(i, 0, 1))
			i++
		}
		d.tell(1, items...)
	}
	if got := d.r.Totals(); d.r.Len() != MaxSessions || got.Dropped != 500 || got.Bytes != MaxSessions {
		t.Errorf("%d sessions, %+v", d.r.Len(), got)
	}
	for _, b := range [][]byte{nil, {2}, append(Batch{}.Append(nil), 0), {1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255}} {
		if why := d.r.Apply(d.index+1, member(1), b); !strings.Contains(string(why), "malformed") {
			t.Errorf("%x: %q", b, why)
		}
	}
	var snap bytes.Buffer
	if err := d.r.Snapshot(&snap); err != nil || snap.Len() > maxSnapshot/2 {
		t.Errorf("a full table's snapshot has %d bytes, %v", snap.Len(), err)
	}
	r := NewRider()
	if err := r.Restore(&snap); err != nil || r.Len() != MaxSessions {
		t.Errorf("%d sessions, %v", r.Len(), err)
	}
}

func TestID(t *testing.T) {
	a, b := MakeID("a"), MakeID("b")
	if got, ok := ParseID([]byte(a.String())); a == b || !ok || got != a || len(a.String()) != IDText {
		t.Errorf("%v %v %v", a, got, ok)
	}
	for _, s := range []string{"", "short", strings.Repeat("a", 17), strings.Repeat("A", 16), strings.Repeat("1", 16), "aaaaaaaa\naaaaaaa"} {
		if id, ok := ParseID([]byte(s)); ok {
			t.Errorf("%q is %v", s, id)
		}
	}
}

// TestReplicasAgree: whatever the ops, two riders agree, one of them restored
// half-way; the invariants hold after each step.
func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := NewRider(), NewRider()
		a.View(1, view(1, 1, 2, 3), 0)
		b.View(1, view(1, 1, 2, 3), 0)
		now := view(1, 1, 2, 3)
		steps := rapid.IntRange(1, 40).Draw(t, "steps")
		half := rapid.IntRange(1, 40).Draw(t, "half")
		for i := range steps {
			index := uint64(i + 2)
			if i == half {
				var buf bytes.Buffer
				if err := a.Snapshot(&buf); err != nil {
					t.Fatal(err)
				}
				if err := b.Restore(&buf); err != nil {
					t.Fatal(err)
				}
				b.View(index-1, now, 5)
			}
			before := a.Entries()
			if rapid.IntRange(0, 5).Draw(t, "what") == 0 {
				ids := rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 1, 4, rapid.ID).Draw(t, "view")
				now = view(index, ids...)
				a.View(index, now, 0)
				b.View(index, now, 9)
			} else {
				from, op := member(rapid.IntRange(1, 4).Draw(t, "from")), genBatch(t, a, index).Append(nil)
				if x, y := a.Apply(index, from, op), b.Apply(index, from, op); !bytes.Equal(x, y) {
					t.Fatalf("%q and %q", x, y)
				}
			}
			invariants(t, now, before, a)
		}
		if x, y := snapshot(t, a), snapshot(t, b); !bytes.Equal(x, y) {
			t.Fatalf("snapshots differ\n%x\n%x", x, y)
		}
	})
}

func snapshot(t interface{ Fatal(...any) }, r *Rider) []byte {
	var b bytes.Buffer
	if err := r.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func genBatch(t *rapid.T, r *Rider, index uint64) Batch {
	b := Batch{Number: rapid.Uint64Range(1, 30).Draw(t, "number"), At: index} // At names a life of a session
	for range rapid.IntRange(1, 4).Draw(t, "items") {
		it := Item{
			Kind: Kind(rapid.IntRange(1, 4).Draw(t, "kind")), ID: sid(rapid.IntRange(1, 3).Draw(t, "id")), Film: "f", Rendition: "hls",
			Seeks: rapid.Uint32Range(0, 2).Draw(t, "seeks"), Position: rapid.Uint32Range(0, 9).Draw(t, "position"), Bytes: 1,
		}
		if e, ok := r.Find(it.ID); ok && rapid.Bool().Draw(t, "right") { // mostly right, so that much happens
			it.Ref = e.OwnIndex
			if it.Kind == End {
				it.Ref = e.Index
			}
		}
		b.Items = append(b.Items, it)
	}
	return b
}

// invariants are the guarantees of the package, from one step to the next.
func invariants(t *rapid.T, v ring.View, before []Entry, r *Rider) {
	for _, e := range r.Entries() {
		if !v.Has(e.Owner) {
			t.Fatalf("invariant (an owner is a member) broken: %+v in %v", e, v)
		}
		for _, was := range before {
			switch {
			case was.ID != e.ID || was.Since != e.Since:
			case e.Seeks < was.Seeks || e.Seeks == was.Seeks && e.Position < was.Position:
				t.Fatalf("invariant (a position never falls) broken: %+v, then %+v", was, e)
			case e.Bytes < was.Bytes:
				t.Fatalf("invariant (bytes never fall) broken: %+v, then %+v", was, e)
			case e.Owner != was.Owner && (e.OwnIndex == was.OwnIndex || e.Moves == was.Moves):
				t.Fatalf("invariant (an ownership has a name of its own) broken: %+v, then %+v", was, e)
			}
		}
	}
	if got := r.Totals(); got.Begun-got.Ended != uint64(r.Len()) {
		t.Fatalf("invariant (begun less ended is there) broken: %+v, %d", got, r.Len())
	}
}

func FuzzParseBatch(f *testing.F) {
	f.Add(Batch{Number: 1, At: 2, Items: []Item{begin(1, 2, 3), report(2, 3, 4), {Kind: Claim, ID: sid(3), Ref: 9, Seeks: 1}, {Kind: End, ID: sid(4), Ref: 9}}}.Append(nil))
	f.Add(Batch{Number: 7, Items: []Item{{Kind: Begin, Film: strings.Repeat("f", MaxFilm), Client: netip.MustParseAddr("2001:db8::1")}}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := ParseBatch(b)
		if err != nil {
			return
		}
		if got := batch.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
		r := NewRider()
		r.View(1, view(1, 1), 0)
		r.Apply(2, member(1), b)
		if got := r.Totals(); got.Begun-got.Ended != uint64(r.Len()) {
			t.Fatal(fmt.Sprint(got, r.Len()))
		}
	})
}

func FuzzRestore(f *testing.F) {
	r := NewRider()
	r.View(1, view(1, 1, 2), 0)
	r.Apply(2, member(1), Batch{Number: 1, Items: []Item{begin(1, 2, 3), begin(2, 3, 4)}}.Append(nil))
	f.Add(snapshot(f, r))
	f.Add(snapshot(f, NewRider()))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewRider()
		if err := r.Restore(bytes.NewReader(b)); err != nil {
			return
		}
		if got := snapshot(t, r); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}
