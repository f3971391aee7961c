package table

import (
	"cmp"
	"net/netip"
	"slices"

	"rain/ring"
)

// share is a member's part of the spread while Want works it out.
type share struct {
	m     ring.Member
	load  int // addresses it has for sure
	owns  int // unpinned addresses that it owns now
	quota int // unpinned addresses that it shall have
}

// Want says who should own each address: a proposal for ops, not a right. It is
// a pure function of the table. Addresses pinned to a member go there; the rest
// levels the load, and stays where it is as far as levelling allows. Draining
// members get nothing. With nobody to choose from the result is empty.
func (t *Table) Want() map[netip.Addr]ring.Member {
	shares := t.shares()
	want := make(map[netip.Addr]ring.Member, len(t.Entries))
	if len(shares) == 0 {
		return want
	}
	at := func(m ring.Member) *share {
		i := slices.IndexFunc(shares, func(s share) bool { return s.m == m })
		if i < 0 {
			return nil
		}
		return &shares[i]
	}
	var loose []*Entry
	for i := range t.Entries {
		e := &t.Entries[i]
		if e.Removed {
			continue
		}
		p := slices.IndexFunc(shares, func(s share) bool { return e.Pin != 0 && s.m.ID == e.Pin })
		if p >= 0 {
			want[e.Addr()] = shares[p].m
			shares[p].load++
			continue
		}
		loose = append(loose, e)
		if s := at(e.Owner); s != nil {
			s.owns++
		}
	}
	level(shares, len(loose))
	var homeless []netip.Addr
	for _, e := range loose {
		if s := at(e.Owner); s != nil && s.quota > 0 {
			s.quota--
			want[e.Addr()] = s.m
			continue
		}
		homeless = append(homeless, e.Addr())
	}
	// Quotas add up to the number of loose addresses: each finds a place.
	next := 0
	for _, a := range homeless {
		for shares[next].quota == 0 {
			next++
		}
		shares[next].quota--
		want[a] = shares[next].m
	}
	return want
}

// shares lists who may own addresses, by id.
func (t *Table) shares() []share {
	var l []share
	for _, m := range t.View.Members {
		if !t.IsDraining(m.Member) {
			l = append(l, share{m: m.Member})
		}
	}
	return l
}

// level deals n addresses out one by one to the member with the least load, so
// that the loads end as level as the pins allow. Among equals it prefers one
// that has more of its own to keep: that moves the fewest.
func level(shares []share, n int) {
	for range n {
		best := slices.MinFunc(shares, func(a, b share) int {
			return cmp.Or(
				cmp.Compare(a.load+a.quota, b.load+b.quota),
				cmp.Compare(b.owns-b.quota, a.owns-a.quota),
				cmp.Compare(a.m.ID, b.m.ID),
			)
		})
		i := slices.IndexFunc(shares, func(s share) bool { return s.m == best.m })
		shares[i].quota++
	}
}
