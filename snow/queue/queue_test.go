package queue

import (
	"bytes"
	"fmt"
	"go/build"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"rain/ring"
)

func member(i, inc int) ring.Member {
	return ring.Member{ID: ring.NodeID(i), Inc: ring.Incarnation(inc)}
}

// view is a view of nodes in incarnation 1.
func view(n uint64, ids ...int) ring.View {
	v := ring.View{Number: n}
	for _, i := range slices.Sorted(slices.Values(ids)) {
		v.Members = append(v.Members, ring.ViewMember{Member: member(i, 1), Since: 1})
	}
	return v
}

// book counts what was applied to it: an inner state.
type book struct{ ops []string }

func (b *book) Apply(index uint64, from ring.Member, op []byte) []byte {
	b.ops = append(b.ops, string(op))
	return fmt.Appendf(nil, "op %d", len(b.ops))
}

func request(path string) Request {
	return Request{
		Client: netip.MustParseAddrPort("192.0.2.1:4711"), Method: "GET", Host: "a.test", Path: path, Range: "bytes=5-",
		Object: Sum{1, 2}, Head: []byte("HTTP/1.1 200 OK\r\n\r\n"), Conn: []byte{1, 9}, SinceMS: 77,
	}
}

func post(key string, print byte) EffectPart {
	e := EffectPart{Scope: "a.test", Name: "guestbook", Fingerprint: Sum{print}, Input: []byte("hello")}
	if key != "" {
		e.HasKey = true
		copy(e.Key[:], key)
	}
	return e
}

// rig is one rider, fed op by op.
type rig struct {
	t     testing.TB
	r     *Rider
	book  *book
	index uint64
}

func newRig(t testing.TB) *rig {
	g := &rig{t: t, book: &book{}}
	g.r = NewRider(map[ring.RiderID]Applier{ring.RiderCatalog: g.book})
	return g
}

func (g *rig) view(v ring.View, freeAt ring.Instant) {
	g.index++
	g.r.View(g.index, v, freeAt)
}

func (g *rig) do(from ring.Member, op Op) Verdict {
	g.t.Helper()
	b, err := op.Encode()
	if err != nil {
		g.t.Fatalf("encode %+v: %v", op, err)
	}
	g.index++
	v, err := ParseVerdict(g.r.Apply(g.index, from, b))
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}

func (g *rig) want(from ring.Member, op Op, k VerdictKind) Verdict {
	g.t.Helper()
	v := g.do(from, op)
	if v.Kind != k {
		g.t.Fatalf("op %d: %s, want %s", g.index, v.Kind, k)
	}
	return v
}

func (g *rig) snapshot() []byte {
	g.t.Helper()
	var b bytes.Buffer
	if err := g.r.Snapshot(&b); err != nil {
		g.t.Fatal(err)
	}
	return b.Bytes()
}

func begins(ns ...uint64) Op {
	op := Op{Kind: OpBatch}
	for _, n := range ns {
		op.Begins = append(op.Begins, NewStream{N: n, Request: request(fmt.Sprintf("/%d", n))})
	}
	return op
}

func finish(id EntryID, text string) Op {
	return Op{Kind: OpFinish, ID: id, AtMS: 5, Answer: []byte(text), Rider: ring.RiderCatalog, Inner: []byte(text)}
}

func TestCoreImports(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net", "os", "time", "log/slog", "crypto/rand", "math/rand", "math/rand/v2"} {
		if slices.Contains(pkg.Imports, bad) {
			t.Errorf("the core imports %q and can no longer run in the simulator", bad)
		}
	}
}

func TestStreamLives(t *testing.T) {
	g := newRig(t)
	a, b := member(1, 1), member(2, 1)
	g.view(view(1, 1, 2, 3), 0)
	g.want(a, begins(3, 4), OK)
	g.want(b, Op{Kind: OpBatch, Offsets: []Progress{{3, 9}}, Ends: []uint64{4}}, OK) // not b's
	g.want(a, Op{Kind: OpBatch, Offsets: []Progress{{3, 50}, {4, 60}, {99, 1}}}, OK)
	g.want(a, Op{Kind: OpBatch, Offsets: []Progress{{3, 40}}, Ends: []uint64{4, 100}}, OK) // an offset never falls
	tab := g.r.Table()
	e := tab.Find(EntryID{a, 3})
	if tab.Length() != 1 || e == nil || e.Offset != 50 || e.Path != "/3" || e.Owner != a || e.State != Running {
		t.Fatalf("length %d, entry %+v", tab.Length(), e)
	}
}

func TestClaimedOnceEach(t *testing.T) {
	g := newRig(t)
	a, b, c := member(1, 1), member(2, 1), member(3, 1)
	g.view(view(6, 1, 2, 3), 0)
	g.want(a, begins(1, 2, 3, 4, 5), OK)
	g.want(b, begins(1), OK)
	g.view(view(7, 2, 3), 100) // 7 mod 2: begins with the second, c
	owners := func() (out []ring.NodeID) {
		g.r.Table().Running(func(e *Entry) bool { out = append(out, e.Owner.ID); return true })
		return out
	}
	if got := owners(); !slices.Equal(got, []ring.NodeID{3, 2, 3, 2, 3, 2}) {
		t.Fatalf("owners %v", got)
	}
	if n := g.r.Table().Claimed; n != 5 || g.r.Table().FreeAt != 100 {
		t.Fatalf("claimed %d, free at %d", n, g.r.Table().FreeAt)
	}
	// What a had under way changes nothing.
	g.want(a, Op{Kind: OpBatch, Offsets: []Progress{{1, 9}}, Ends: []uint64{2}}, NotMember)
	g.want(a, begins(6), NotMember)
	// c settles its own; b may not settle them.
	var mine []EntryID
	for _, e := range g.r.Table().Claims(c) {
		mine = append(mine, e.ID)
	}
	g.want(b, Op{Kind: OpSettle, IDs: mine}, OK)
	if g.r.Table().Orphaned != 0 {
		t.Fatal("b settled c's entries")
	}
	g.want(c, Op{Kind: OpSettle, IDs: mine[:1]}, OK)
	if tab := g.r.Table(); tab.Orphaned != 1 || len(tab.Recent()) != 1 || tab.Recent()[0].State != Orphaned || tab.Length() != 5 {
		t.Fatalf("orphaned %d, recent %v, length %d", tab.Orphaned, tab.Recent(), tab.Length())
	}
	// c dies too: what it had claimed and not settled goes to b, and a is back as another.
	v := view(8, 2)
	v.Members = append([]ring.ViewMember{{Member: member(1, 2), Since: 8}}, v.Members...)
	g.view(v, 200)
	if got := owners(); !slices.Equal(got, []ring.NodeID{2, 1, 2, 2, 2}) {
		t.Fatalf("owners after the second death %v", got)
	}
	if n := g.r.Table().Claimed; n != 7 {
		t.Fatalf("claimed %d", n)
	}
}

// A node that comes back without anybody having seen it go is another member.
func TestRestartWithoutExclusion(t *testing.T) {
	g := newRig(t)
	g.view(view(1, 1, 2), 0)
	g.want(member(1, 1), begins(1), OK)
	v := view(2, 1, 2)
	v.Members[0].Inc = 2
	g.view(v, 0)
	e := g.r.Table().Find(EntryID{member(1, 1), 1})
	if e == nil || e.State != Claimed || !v.Has(e.Owner) {
		t.Fatalf("%+v", e)
	}
}

func TestBoundOfStreams(t *testing.T) {
	g := newRig(t)
	a := member(1, 1)
	g.view(view(1, 1), 0)
	for n := uint64(1); n <= MaxStreams; n += 100 {
		op := Op{Kind: OpBatch}
		for k := range uint64(100) {
			op.Begins = append(op.Begins, NewStream{N: n + k})
		}
		g.want(a, op, OK)
	}
	g.want(a, begins(MaxStreams+1, MaxStreams+2), OK)
	if tab := g.r.Table(); tab.Length() != MaxStreams || tab.Dropped != 2 {
		t.Fatalf("length %d, dropped %d", tab.Length(), tab.Dropped)
	}
}

func TestEffectOnce(t *testing.T) {
	g := newRig(t)
	a, b := member(1, 1), member(2, 1)
	g.view(view(1, 1, 2), 0)
	begin := Op{Kind: OpBegin, N: 1, Request: request("/guestbook"), Effect: post("k", 7)}
	id := g.want(a, begin, New).ID
	g.want(a, begin, New) // sent again: the same entry
	other := begin
	other.N = 2
	if v := g.want(b, other, Busy); v.ID != id || v.Owner != a {
		t.Fatalf("%+v", v)
	}
	elsewhere := other
	elsewhere.N, elsewhere.Effect.Scope = 9, "b.test"
	g.want(b, elsewhere, New) // a key counts in its scope alone
	g.want(b, finish(id, "x"), NotOwner)
	g.want(b, finish(EntryID{a, 99}, "x"), NoEntry)
	v := g.want(a, finish(id, "first"), Recorded)
	if string(v.Outcome.Result) != "op 1" || string(v.Outcome.Answer) != "first" || v.Outcome.Index != g.index {
		t.Fatalf("%+v", v.Outcome)
	}
	if v := g.want(a, finish(id, "second"), Ended); string(v.Outcome.Answer) != "first" {
		t.Fatalf("the outcome changed: %+v", v.Outcome)
	}
	if v := g.want(b, other, Ended); string(v.Outcome.Answer) != "first" || string(v.Outcome.Result) != "op 1" {
		t.Fatalf("%+v", v.Outcome)
	}
	other.Effect.Fingerprint = Sum{8}
	g.want(b, other, Mismatch)
	tab := g.r.Table()
	if len(g.book.ops) != 1 || tab.Replayed != 1 || tab.Lookup("a.test", begin.Effect.Key).Input != nil {
		t.Fatalf("inner ops %q, replayed %d", g.book.ops, tab.Replayed)
	}
}

// The owner dies between begin and finish: who claims runs it, and what the dead
// one still had under way changes nothing.
func TestEffectClaimed(t *testing.T) {
	g := newRig(t)
	a, b := member(1, 1), member(2, 1)
	g.view(view(1, 1, 2), 0)
	id := g.want(a, Op{Kind: OpBegin, N: 1, Effect: post("", 7)}, New).ID
	g.view(view(2, 2), 0)
	g.want(a, finish(id, "late"), NotMember)
	claims := g.r.Table().Claims(b)
	if len(claims) != 1 || claims[0].ID != id || string(claims[0].Input) != "hello" {
		t.Fatalf("claims %+v", claims)
	}
	g.want(b, Op{Kind: OpSettle, IDs: []EntryID{id}}, OK) // effects are not settled so
	g.want(b, finish(id, "by b"), Recorded)
	g.want(b, finish(id, "again"), Ended)
	if len(g.book.ops) != 1 || g.book.ops[0] != "by b" || len(g.r.Table().Claims(b)) != 0 {
		t.Fatalf("inner ops %q, claims %v", g.book.ops, g.r.Table().Claims(b))
	}
}

func TestAbandonFreesTheKey(t *testing.T) {
	g := newRig(t)
	a := member(1, 1)
	g.view(view(1, 1), 0)
	e := post("k", 7)
	e.Body = Sum{4}
	id := g.want(a, Op{Kind: OpBegin, N: 1, Effect: e}, New).ID
	if !g.r.Table().Needs(e.Body) {
		t.Fatal("the input's body is not needed")
	}
	g.want(a, Op{Kind: OpAbandon, ID: id}, OK)
	g.want(a, Op{Kind: OpAbandon, ID: id}, NoEntry)
	if tab := g.r.Table(); tab.Needs(e.Body) || tab.Effects() != 0 || tab.EffectBytes() != 0 {
		t.Fatalf("left: %d effects, %d bytes", tab.Effects(), tab.EffectBytes())
	}
	id = g.want(a, Op{Kind: OpBegin, N: 2, Effect: post("k", 8)}, New).ID
	f := finish(id, "x")
	f.Rider = ring.RiderStreams // nobody told the rider of it
	g.want(a, f, Malformed)
	f = finish(id, "x")
	f.Body = Sum{5}
	g.want(a, f, Recorded)
	if tab := g.r.Table(); !tab.Needs(f.Body) {
		t.Fatal("the answer's body is not needed")
	}
}

// Keys go after 24 h of the cluster's time, never before, whatever ticks say
// twice.
func TestExpiry(t *testing.T) {
	g := newRig(t)
	a := member(1, 1)
	g.view(view(1, 1), 0)
	for n, key := range []string{"k", ""} {
		id := g.want(a, Op{Kind: OpBegin, N: uint64(n + 1), Effect: post(key, 7)}, New).ID
		g.want(a, finish(id, "x"), Recorded)
	}
	again := NewRider(g.r.inner) // a replica that came later lets go of the same
	restore(t, g.r, again)
	g.r = again
	seq := uint64(0)
	tick := func(ms uint32) {
		g.want(a, Op{Kind: OpTick, Seq: seq, ElapsedMS: ms}, OK)
		g.want(a, Op{Kind: OpTick, Seq: seq, ElapsedMS: ms}, OK) // the second counts nothing
		seq++
	}
	tick(MaxTick)
	tick(KeepUnkeyed - 1)
	if n := g.r.Table().Effects(); n != 2 {
		t.Fatalf("%d effects", n)
	}
	tick(1)
	if n := g.r.Table().Effects(); n != 1 {
		t.Fatalf("%d effects", n)
	}
	for g.r.Table().Age < Keep {
		tick(1 << 31) // counts MaxTick
	}
	if tab := g.r.Table(); tab.Effects() != 1 || tab.Age >= Keep+MaxTick {
		t.Fatalf("age %d, %d effects", tab.Age, tab.Effects())
	}
	tick(MaxTick)
	if tab := g.r.Table(); tab.Effects() != 0 || tab.Lookup("a.test", post("k", 7).Key) != nil || tab.EffectBytes() != 0 {
		t.Fatalf("age %d, %d effects, %d bytes", tab.Age, tab.Effects(), tab.EffectBytes())
	}
}

func TestBytesAreBounded(t *testing.T) {
	g := newRig(t)
	a := member(1, 1)
	g.view(view(1, 1), 0)
	e := post("", 1)
	e.Input = bytes.Repeat([]byte("x"), MaxInput)
	full := uint64(0)
	for n := uint64(1); ; n++ {
		if v := g.do(a, Op{Kind: OpBegin, N: n, Effect: e}); v.Kind == Full {
			full = n
			break
		}
	}
	if tab := g.r.Table(); tab.EffectBytes() > MaxEffectBytes || full < MaxEffectBytes/2/MaxInput || tab.Refused != 1 {
		t.Fatalf("%d bytes, full at %d, refused %d", tab.EffectBytes(), full, tab.Refused)
	}
	if n := len(g.snapshot()); n > maxSnapshot {
		t.Fatalf("a snapshot of %d bytes", n)
	}
}

func TestEncodeRefuses(t *testing.T) {
	long := request("/" + strings.Repeat("x", MaxPath))
	for name, op := range map[string]Op{
		"path":      {Kind: OpBatch, Begins: []NewStream{{N: 1, Request: long}}},
		"host":      {Kind: OpBegin, N: 1, Request: Request{Host: strings.Repeat("h", 256)}},
		"input":     {Kind: OpBegin, N: 1, Effect: EffectPart{Input: make([]byte, MaxInput+1)}},
		"order":     {Kind: OpBatch, Ends: []uint64{2, 1}},
		"twice":     {Kind: OpBatch, Ends: []uint64{2, 2}},
		"zero":      {Kind: OpBegin},
		"op":        {Kind: OpFinish, Rider: 3, Inner: make([]byte, ring.MaxOp)},
		"no rider":  {Kind: OpFinish, Inner: []byte{1}},
		"too many":  {Kind: OpBatch, Offsets: make([]Progress, 1<<16)},
		"unknown":   {Kind: 77},
		"no such N": begins(0),
	} {
		if _, err := op.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func TestEntryID(t *testing.T) {
	id := EntryID{member(0x00010001, 5), 7}
	if got, err := ParseEntryID(id.String()); err != nil || got != id {
		t.Fatalf("%s: %v, %v", id, got, err)
	}
	for _, bad := range []string{"", "1-2-3", "0.1.0.1-2", "0.1.0.1-x-3"} {
		if _, err := ParseEntryID(bad); err == nil {
			t.Errorf("%q is an id", bad)
		}
	}
}
