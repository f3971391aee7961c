package table

import (
	"slices"

	"rain/ring"
)

// Alone is the table as those see it who go on without a quorum, by policy "any":
// the members of v, who reach each other. Each address goes to whom Want gives it
// among them; who owned one and is in v keeps it, another acts from freeAt on.
// Members with equal tables and equal v get equal results. It is nobody's right
// beyond v: others may act on the same addresses elsewhere. round tells the
// ownerships of one v from those of the next.
func (t *Table) Alone(v ring.View, round uint64, freeAt ring.Instant) *Table {
	c := t.clone()
	c.View = v
	c.Draining = slices.DeleteFunc(c.Draining, func(m ring.Member) bool { return !v.Has(m) })
	for i := range c.Entries {
		// Whatever life it is in, the owner is the same box: nobody waits for it.
		if vm, ok := v.ByID(c.Entries[i].Owner.ID); ok && c.Entries[i].Owner != vm.Member {
			c.Entries[i].Owner, c.Entries[i].OwnIndex = vm.Member, aloneIndex|round
		}
	}
	want := c.Want()
	for i := range c.Entries {
		e := &c.Entries[i]
		e.cancel()
		if to := want[e.Addr()]; e.Owner != to {
			e.Owner, e.OwnIndex, e.FreeAt, e.Served, e.Cause = to, aloneIndex|round, freeAt, false, "no quorum, policy any"
		}
	}
	return c
}

// aloneIndex is in the index of ownerships that no op made.
const aloneIndex = 1 << 63

// Override shows everybody another table than the ring's, until it is called with
// nil. The ring's goes on below it.
func (r *Rider) Override(t *Table) {
	if t != nil {
		t.changed = make(chan struct{})
	}
	if old := r.over.Swap(t); old != nil {
		close(old.changed)
	}
}

// Agreed is the ring's own table, whatever is shown.
func (r *Rider) Agreed() *Table { return r.now.Load() }
