package table

import (
	"net/netip"
	"testing"

	"rain/ring"
)

func aloneView(ids ...ring.NodeID) ring.View {
	v := ring.View{Number: 9}
	for _, id := range ids {
		v.Members = append(v.Members, ring.ViewMember{Member: ring.Member{ID: id, Inc: 5}, Since: 9})
	}
	return v
}

// Halves of a cluster that go on without a quorum: in each, every address has one
// owner of that half, the same for all who compute it; who had one keeps it.
func TestAlone(t *testing.T) {
	r := NewRider()
	full := aloneView(1, 2, 3, 4)
	r.View(1, full, 0)
	pool := Pool{Name: "web"}
	for i := range 8 {
		pool.Addresses = append(pool.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 24))
	}
	r.Apply(2, full.Members[0].Member, Op{Kind: SetPools, Pools: []Pool{pool}}.Append(nil))
	for i, a := range pool.Addresses {
		from := full.Members[i%4].Member
		if why := r.Apply(uint64(3+i), from, Op{Kind: Own, Addr: a.Addr(), Cause: "start"}.Append(nil)); len(why) > 0 {
			t.Fatalf("%s", why)
		}
	}
	agreed := r.Agreed()
	for _, half := range []ring.View{aloneView(1, 2), aloneView(3, 4), aloneView(2)} {
		a, b := agreed.Alone(half, 1, 100), agreed.Alone(half, 1, 100)
		for i := range a.Entries {
			x, was := &a.Entries[i], &agreed.Entries[i]
			if !half.Has(x.Owner) || x.Owner != b.Entries[i].Owner {
				t.Errorf("%v: %s belongs to %s and %s", half, x.Addr(), x.Owner, b.Entries[i].Owner)
			}
			if half.Has(was.Owner) && (x.Owner != was.Owner || x.OwnIndex != was.OwnIndex || x.FreeAt != was.FreeAt) {
				t.Errorf("%v: %s moved from %s to %s", half, x.Addr(), was.Owner, x.Owner)
			}
			if !half.Has(was.Owner) && (x.FreeAt != 100 || x.OwnIndex == was.OwnIndex) {
				t.Errorf("%v: %s is taken at once", half, x.Addr())
			}
		}
	}
	if agreed.Entries[0].Owner != full.Members[0].Member {
		t.Error("the agreed table was changed")
	}
}

// A box that began a new life keeps its addresses.
func TestAloneAfterARestart(t *testing.T) {
	r := NewRider()
	r.View(1, aloneView(1, 2), 0)
	addr := netip.MustParsePrefix("10.0.0.1/24")
	me := ring.Member{ID: 1, Inc: 5}
	r.Apply(2, me, Op{Kind: SetPools, Pools: []Pool{{Name: "web", Addresses: []netip.Prefix{addr}}}}.Append(nil))
	r.Apply(3, me, Op{Kind: Own, Addr: addr.Addr()}.Append(nil))
	v := aloneView(1)
	v.Members[0].Inc = 6
	a := r.Agreed().Alone(v, 2, 70)
	if e := a.Entries[0]; e.Owner != v.Members[0].Member || e.FreeAt == 70 {
		t.Errorf("%+v", e)
	}
}

func TestOverride(t *testing.T) {
	r := NewRider()
	r.View(1, aloneView(1), 0)
	shown := r.Agreed().Alone(aloneView(1), 1, 0)
	r.Override(shown)
	if r.Table() != shown {
		t.Error("it is not shown")
	}
	r.View(2, aloneView(1, 2), 0) // the ring goes on below
	if r.Table() != shown || len(r.Agreed().View.Members) != 2 {
		t.Error("what the ring said was lost, or shown")
	}
	r.Override(nil)
	select {
	case <-shown.Changed():
	default:
		t.Error("nobody was told that it ended")
	}
	if r.Table() != r.Agreed() {
		t.Error("it is still shown")
	}
}
