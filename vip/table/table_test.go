package table

import (
	"bytes"
	"fmt"
	"go/build"
	"net/netip"
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

func pool(n int) Pool {
	p := Pool{Name: "web", Interface: "eth0"}
	for i := range n {
		p.Addresses = append(p.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), 24))
	}
	return p
}

var a1 = netip.MustParseAddr("127.0.1.1")

// script applies ops and says what the table answered.
type script struct {
	t     *testing.T
	r     *Rider
	index uint64
}

func (s *script) do(from int, op Op, refusedBy string) {
	s.t.Helper()
	s.index++
	got := string(s.r.Apply(s.index, member(from), op.Append(nil)))
	if (got == "") != (refusedBy == "") || !strings.Contains(got, refusedBy) {
		s.t.Fatalf("op %d %+v: result %q, want it to hold %q", s.index, op, got, refusedBy)
	}
}

func (s *script) view(freeAt ring.Instant, v ring.View) {
	s.index++
	s.r.View(s.index, v, freeAt)
}

func (s *script) e1() *Entry { return s.r.Table().Find(a1) }

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

func TestOwnership(t *testing.T) {
	s := &script{t: t, r: NewRider()}
	s.view(0, view(1, 1, 2, 3))
	s.do(1, Op{Kind: SetPools, Pools: []Pool{pool(2)}}, "")
	s.do(1, Op{Kind: Own, Addr: a1, Cause: "start"}, "")
	s.do(2, Op{Kind: Own, Addr: a1}, "belongs to")
	s.do(2, Op{Kind: Free, Addr: a1, Ref: s.e1().OwnIndex}, "does not own")
	s.do(1, Op{Kind: Free, Addr: a1, Ref: 1}, "does not own") // an older ownership
	s.do(1, Op{Kind: Give, Addr: a1, Ref: s.e1().OwnIndex, To: member(9)}, "not another member")
	s.do(1, Op{Kind: Give, Addr: a1, Ref: s.e1().OwnIndex, To: member(2), Cause: "drain n1"}, "")
	if e := s.e1(); e.Owner != member(2) || e.Moves != 1 || e.Cause != "drain n1" {
		t.Fatalf("after Give: %+v", e)
	}
	// 2 dies: only then may 3 take over, and it waits for freeAt.
	s.do(3, Op{Kind: Own, Addr: a1}, "belongs to")
	s.view(100, view(2, 1, 3))
	s.do(2, Op{Kind: Own, Addr: a1}, "not in the view")
	s.do(3, Op{Kind: Own, Addr: a1, Cause: "crash n2"}, "")
	if e := s.e1(); e.Owner != member(3) || e.FreeAt != 100 || e.Served {
		t.Fatalf("after take-over: %+v", e)
	}
	s.do(3, Op{Kind: Served, Addr: a1, Ref: s.e1().OwnIndex, GapMS: 131}, "")
	if e := s.e1(); !e.Served || e.GapMS != 131 {
		t.Fatalf("after Served: %+v", e)
	}
	ev := s.r.Table().Events
	if last := ev[len(ev)-1]; last.From != 2 || last.To != 3 || last.Cause != "crash n2" || last.GapMS != 131 {
		t.Fatalf("last event %+v", last)
	}
	// Trap 11, the laundered wait: freed and taken again, the wait still counts.
	s.do(3, Op{Kind: Free, Addr: a1, Ref: s.e1().OwnIndex}, "")
	s.view(90, view(3, 1, 3, 4)) // a join brings no longer wait, and takes none away
	s.do(1, Op{Kind: Own, Addr: a1}, "")
	if e := s.e1(); e.FreeAt != 100 || e.Moves != 3 {
		t.Fatalf("laundered wait: %+v", e)
	}
}

func TestPlannedHandOver(t *testing.T) {
	s := &script{t: t, r: NewRider()}
	s.view(0, view(1, 1, 2, 3))
	s.do(1, Op{Kind: SetPools, Pools: []Pool{pool(1)}}, "")
	s.do(1, Op{Kind: Own, Addr: a1}, "")
	own := s.e1().OwnIndex
	s.do(1, Op{Kind: Prepare, Addr: a1, Ref: own, To: member(2)}, "")
	first := s.e1().NextIndex
	s.do(3, Op{Kind: Ready, Addr: a1, Ref: first}, "not to become")
	s.do(1, Op{Kind: Cancel, Addr: a1, Ref: own}, "")
	s.do(1, Op{Kind: Prepare, Addr: a1, Ref: own, To: member(2)}, "")
	s.do(2, Op{Kind: Ready, Addr: a1, Ref: first}, "not to become") // of the cancelled one
	s.do(2, Op{Kind: Ready, Addr: a1, Ref: s.e1().NextIndex}, "")
	if !s.e1().Ready {
		t.Fatal("not ready")
	}
	s.view(50, view(2, 1, 3))
	if e := s.e1(); !e.Next.IsZero() || e.Ready || e.Owner != member(1) {
		t.Fatalf("the successor died: %+v", e)
	}
}

func TestRemovedAddressStaysUntilFreed(t *testing.T) {
	s := &script{t: t, r: NewRider()}
	s.view(0, view(1, 1, 2))
	s.do(1, Op{Kind: SetPools, Pools: []Pool{pool(1)}}, "")
	s.do(1, Op{Kind: Own, Addr: a1}, "")
	s.do(2, Op{Kind: SetPools}, "")
	s.do(2, Op{Kind: SetPools, Pools: []Pool{pool(1)}}, "")
	s.do(2, Op{Kind: Own, Addr: a1}, "belongs to") // else two would act
	s.do(2, Op{Kind: SetPools}, "")
	if e := s.e1(); e == nil || !e.Removed || len(s.r.Table().Want()) != 0 {
		t.Fatalf("removed while owned: %+v", e)
	}
	s.do(1, Op{Kind: Free, Addr: a1, Ref: s.e1().OwnIndex}, "")
	if len(s.r.Table().Entries) != 0 {
		t.Fatal("the freed row is still there")
	}
}

func TestSnapshotIsTheState(t *testing.T) {
	s := &script{t: t, r: NewRider()}
	s.view(7, view(1, 1, 2))
	s.do(1, Op{Kind: SetPools, Pools: []Pool{pool(3)}}, "")
	s.do(1, Op{Kind: Own, Addr: a1, AtMS: 5, Cause: "start"}, "")
	s.do(1, Op{Kind: Pin, Addr: a1, Node: 2}, "")
	s.do(2, Op{Kind: Draining, To: member(2), On: true}, "")
	var b bytes.Buffer
	if err := s.r.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	r := NewRider()
	if err := r.Restore(bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	r.View(9, view(1, 1, 2), 77)
	var c bytes.Buffer
	if err := r.Snapshot(&c); err != nil || !bytes.Equal(b.Bytes(), c.Bytes()) {
		t.Fatalf("restored differs (err %v):\n%x\n%x", err, b.Bytes(), c.Bytes())
	}
	if e := r.Table().Find(a1); e.FreeAt != 77 {
		t.Fatalf("a restored entry must wait for its own freeAt: %+v", e)
	}
}

// TestReplicasAgree feeds any bytes and ops to two riders, one of them restored
// from the other's snapshot half-way.
func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := NewRider(), NewRider()
		steps := rapid.SliceOfN(rapid.Custom(genStep), 1, 40).Draw(t, "steps")
		half := rapid.IntRange(0, len(steps)).Draw(t, "half")
		for i, st := range steps {
			idx := uint64(i + 1)
			if i == half && i > 0 {
				var buf bytes.Buffer
				if err := a.Snapshot(&buf); err != nil {
					t.Fatal(err)
				}
				if err := b.Restore(&buf); err != nil {
					t.Fatal(err)
				}
				b.View(idx-1, a.Table().View, 1000)
			}
			ra, rb := st(a, idx), st(b, idx)
			if ra != rb {
				t.Fatalf("step %d: %q and %q", i, ra, rb)
			}
		}
		var x, y bytes.Buffer
		_, _ = a.Snapshot(&x), b.Snapshot(&y)
		if !bytes.Equal(x.Bytes(), y.Bytes()) {
			t.Fatalf("snapshots differ\n%x\n%x", x.Bytes(), y.Bytes())
		}
		if fmt.Sprint(a.Table().Want()) != fmt.Sprint(b.Table().Want()) {
			t.Fatal("wants differ")
		}
	})
}

func genStep(t *rapid.T) func(r *Rider, index uint64) string {
	from := member(rapid.IntRange(1, 4).Draw(t, "from"))
	op := Op{
		Kind: Kind(rapid.IntRange(0, 10).Draw(t, "kind")), To: member(rapid.IntRange(1, 4).Draw(t, "to")),
		Addr: pool(4).Addresses[rapid.IntRange(0, 3).Draw(t, "addr")].Addr(), On: rapid.Bool().Draw(t, "on"),
		Node: ring.NodeID(rapid.IntRange(0, 4).Draw(t, "node")), Cause: "x",
	}
	ids := rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 1, 4, rapid.ID).Draw(t, "view")
	size := rapid.IntRange(0, 4).Draw(t, "size")
	return func(r *Rider, index uint64) string {
		if op.Kind == 0 {
			r.View(index, view(index, ids...), 0)
			return ""
		}
		op := op
		if e := r.Table().Find(op.Addr); e != nil { // mostly right, so that much happens
			op.Ref = e.OwnIndex
			if op.Kind == Ready {
				op.Ref = e.NextIndex
			}
		}
		if op.Kind == SetPools {
			op.Pools = []Pool{pool(size)}
		}
		return string(r.Apply(index, from, op.Append(nil)))
	}
}

func FuzzParseOp(f *testing.F) {
	for k := Kind(1); k <= 10; k++ {
		op := Op{Kind: k, Addr: a1, Ref: 3, To: member(2), AtMS: 4, Cause: "crash n1", Pools: []Pool{pool(2)}}
		f.Add(op.Append(nil))
	}
	f.Add(Op{Kind: Own, Addr: netip.MustParseAddr("fd00::1")}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := ParseOp(b)
		if err != nil {
			return
		}
		if got := op.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
		r := NewRider()
		r.View(1, view(1, 1, 2), 0)
		r.Apply(2, member(1), Op{Kind: SetPools, Pools: []Pool{pool(2)}}.Append(nil))
		r.Apply(3, member(1), b)
	})
}

func FuzzRestore(f *testing.F) {
	r := NewRider()
	r.View(1, view(1, 1, 2), 0)
	r.Apply(2, member(1), Op{Kind: SetPools, Pools: []Pool{pool(2)}}.Append(nil))
	r.Apply(3, member(1), Op{Kind: Own, Addr: a1}.Append(nil))
	var b bytes.Buffer
	if err := r.Snapshot(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewRider()
		if r.Restore(bytes.NewReader(b)) != nil {
			return
		}
		var out bytes.Buffer
		if err := r.Snapshot(&out); err != nil || !bytes.Equal(out.Bytes(), b) {
			t.Fatalf("accepted %x, writes it back as %x (%v)", b, out.Bytes(), err)
		}
	})
}
