package table

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"rain/ring"
)

// Rider is the table on the token. Apply, View, Snapshot and Restore belong to
// one goroutine; Table may be called from anywhere.
type Rider struct {
	now      atomic.Pointer[Table]
	over     atomic.Pointer[Table] // shown in its place; nil: none
	restored bool                  // the next View's freeAt holds for every entry
}

var _ ring.Rider = (*Rider)(nil)

// NewRider returns an empty table.
func NewRider() *Rider {
	r := &Rider{}
	r.now.Store(&Table{changed: make(chan struct{})})
	return r
}

// Table is the newest state, or what Override put into its place.
func (r *Rider) Table() *Table {
	if t := r.over.Load(); t != nil {
		return t
	}
	return r.now.Load()
}

func (r *Rider) publish(t *Table) {
	close(r.now.Swap(t).changed)
}

// Apply changes the table by one op. The result is empty if the op was valid,
// else it says in a sentence why nothing changed.
func (r *Rider) Apply(index uint64, from ring.Member, data []byte) []byte {
	op, err := ParseOp(data)
	if err != nil {
		return []byte(err.Error())
	}
	t := r.now.Load().clone()
	t.Index = index
	if why := t.apply(index, from, op); why != "" {
		return []byte("vip table: " + why)
	}
	r.publish(t)
	return nil
}

// View takes members that left off the table's plans. What they own stays theirs
// until another's Own.
func (r *Rider) View(index uint64, v ring.View, freeAt ring.Instant) {
	t := r.now.Load().clone()
	t.Index, t.View = index, v
	t.FreeAt = max(t.FreeAt, freeAt)
	t.Draining = slices.DeleteFunc(t.Draining, func(m ring.Member) bool { return !v.Has(m) })
	for i := range t.Entries {
		e := &t.Entries[i]
		if r.restored {
			e.FreeAt = t.FreeAt
		}
		if !e.Next.IsZero() && (!v.Has(e.Next) || !v.Has(e.Owner)) {
			e.cancel()
		}
	}
	t.Entries = slices.DeleteFunc(t.Entries, func(e Entry) bool { return e.Removed && t.Orphan(&e) })
	r.restored = false
	r.publish(t)
}

func (e *Entry) cancel() { e.Next, e.NextIndex, e.Ready = ring.Member{}, 0, false }

func (t *Table) apply(index uint64, from ring.Member, op Op) (why string) {
	switch op.Kind {
	case SetPools:
		return t.setPools(op.Pools)
	case Draining:
		return t.setDraining(op.To, op.On)
	}
	i, ok := t.find(op.Addr)
	if !ok {
		return fmt.Sprintf("%s is in no pool", op.Addr)
	}
	e := &t.Entries[i]
	switch op.Kind {
	case Pin:
		e.Pin = op.Node
		return ""
	case Own:
		switch {
		case !t.View.Has(from):
			return fmt.Sprintf("%s is not in the view", from)
		case e.Removed:
			return fmt.Sprintf("%s is in no pool", op.Addr)
		case !t.Orphan(e):
			return fmt.Sprintf("%s belongs to %s", op.Addr, e.Owner)
		}
		t.hand(index, e, from, op)
		return ""
	case Ready:
		if e.Next != from || e.NextIndex != op.Ref {
			return fmt.Sprintf("%s is not to become the owner of %s", from, op.Addr)
		}
		e.Ready = true
		return ""
	}
	if e.Owner != from || e.OwnIndex != op.Ref {
		return fmt.Sprintf("%s does not own %s (any more)", from, op.Addr)
	}
	return t.byOwner(index, e, op)
}

// byOwner applies what only the owner may do.
func (t *Table) byOwner(index uint64, e *Entry, op Op) (why string) {
	switch op.Kind {
	case Free:
		t.hand(index, e, ring.Member{}, op)
		t.Entries = slices.DeleteFunc(t.Entries, func(e Entry) bool { return e.Removed && e.Owner.IsZero() })
	case Give:
		if !t.View.Has(op.To) || op.To == e.Owner || e.Removed {
			return fmt.Sprintf("%s cannot be given to %s: not another member of the view", op.Addr, op.To)
		}
		t.hand(index, e, op.To, op)
	case Prepare:
		if !t.View.Has(op.To) || op.To == e.Owner || e.Removed {
			return fmt.Sprintf("%s cannot get ready for %s: not another member of the view", op.To, op.Addr)
		}
		e.Next, e.NextIndex, e.Ready = op.To, index, false
	case Cancel:
		e.cancel()
	case Served:
		e.Served, e.GapMS = true, op.GapMS
		for i := range slices.Backward(t.Events) {
			if t.Events[i].Index == e.OwnIndex {
				t.Events[i].GapMS = op.GapMS
				break
			}
		}
	}
	return ""
}

// hand makes to the owner of e; zero: nobody.
func (t *Table) hand(index uint64, e *Entry, to ring.Member, op Op) {
	ev := Event{Index: index, Addr: e.Addr(), To: to.ID, Cause: op.Cause, AtMS: op.AtMS, From: e.Owner.ID}
	if e.Owner.IsZero() {
		ev.From = e.Last
	}
	t.Events = append(t.Events, ev)
	if n := len(t.Events) - MaxEvents; n > 0 {
		t.Events = slices.Delete(t.Events, 0, n)
	}
	e.cancel()
	e.Owner, e.OwnIndex, e.FreeAt = to, index, t.FreeAt
	e.SinceMS, e.Cause, e.Served, e.GapMS = op.AtMS, op.Cause, false, 0
	if to.IsZero() {
		return
	}
	if e.Last != 0 && e.Last != to.ID {
		e.Moves++
	}
	e.Last = to.ID
}

func (t *Table) setDraining(m ring.Member, on bool) (why string) {
	i, had := slices.BinarySearchFunc(t.Draining, m, compareMembers)
	switch {
	case !t.View.Has(m):
		return fmt.Sprintf("%s is not in the view", m)
	case on && !had:
		t.Draining = slices.Insert(t.Draining, i, m)
	case !on && had:
		t.Draining = slices.Delete(t.Draining, i, i+1)
	}
	return ""
}

func compareMembers(a, b ring.Member) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Inc, b.Inc))
}

// setPools keeps the rows of the addresses that stay, and of those that a member
// may still act on: were they forgotten, another could own them beside it.
func (t *Table) setPools(pools []Pool) (why string) {
	var next []Entry
	names := map[string]bool{}
	for _, p := range pools {
		if names[p.Name] {
			return fmt.Sprintf("pool %q is there twice", p.Name)
		}
		names[p.Name] = true
		for _, a := range p.Addresses {
			var e Entry
			if old := t.Find(a.Addr()); old != nil {
				e = *old
			}
			e.Address = Address{Prefix: a, Pool: p.Name, Interface: p.Interface}
			e.Removed = false
			next = append(next, e)
		}
	}
	for _, e := range t.Entries {
		stays := slices.ContainsFunc(next, func(n Entry) bool { return n.Addr() == e.Addr() })
		if !stays && !t.Orphan(&e) {
			e.cancel()
			e.Removed = true
			next = append(next, e)
		}
	}
	if len(next) > MaxAddresses {
		return fmt.Sprintf("%d addresses are more than %d", len(next), MaxAddresses)
	}
	slices.SortFunc(next, func(a, b Entry) int { return a.Addr().Compare(b.Addr()) })
	for i := range next {
		if i > 0 && next[i].Addr() == next[i-1].Addr() {
			return fmt.Sprintf("address %s is there twice", next[i].Addr())
		}
	}
	t.Entries = next
	return ""
}

// Pools is the set of pools as the table has it, by name; pools without
// addresses do not show.
func (t *Table) Pools() []Pool {
	by := map[string]*Pool{}
	for _, e := range t.Entries {
		if e.Removed {
			continue
		}
		p := by[e.Pool]
		if p == nil {
			p = &Pool{Name: e.Pool, Interface: e.Interface, Addresses: []netip.Prefix{}}
			by[e.Pool] = p
		}
		p.Addresses = append(p.Addresses, e.Prefix)
	}
	var out []Pool
	for _, p := range by {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
