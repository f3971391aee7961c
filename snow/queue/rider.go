package queue

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"

	"rain/ring"
)

// Applier applies an inner op to another replicated state: the table of another
// rider. It must be a pure function of that state, the index, the member and the
// op, as ring.Rider's Apply is.
type Applier interface {
	Apply(index uint64, from ring.Member, op []byte) (result []byte)
}

// Rider is the queue on the token. Apply, View, Snapshot and Restore belong to
// one goroutine; Table may be called from anywhere.
type Rider struct {
	inner map[ring.RiderID]Applier
	live  *Table // what Apply changes; nobody else sees it
	now   atomic.Pointer[Table]
	// Ended effects in the order of their ends, by EntryID.key, with and without
	// a key. They follow from the table.
	keyed, unkeyed []string
}

var _ ring.Rider = (*Rider)(nil)

// NewRider returns an empty queue. inner are the states that effects change; a
// Finish for another one is malformed.
func NewRider(inner map[ring.RiderID]Applier) *Rider {
	r := &Rider{inner: inner, live: newTable()}
	r.now.Store(r.live.frozen())
	return r
}

// Table is the newest state.
func (r *Rider) Table() *Table { return r.now.Load() }

func (r *Rider) publish() {
	old := r.now.Swap(r.live.frozen())
	close(old.changed)
}

// Apply changes the queue by one op. The result is a Verdict.
func (r *Rider) Apply(index uint64, from ring.Member, data []byte) []byte {
	op, err := ParseOp(data)
	if err != nil {
		return Verdict{Kind: Malformed}.append(nil)
	}
	r.live.Index = index
	v := r.apply(index, from, op)
	r.publish()
	return v.append(nil)
}

func (r *Rider) apply(index uint64, from ring.Member, op *Op) Verdict {
	t := r.live
	if !t.View.Has(from) {
		return Verdict{Kind: NotMember}
	}
	switch op.Kind {
	case OpBatch:
		t.batch(from, op)
	case OpBegin:
		return t.begin(from, op)
	case OpFinish:
		return r.finish(index, from, op)
	case OpAbandon:
		return t.abandon(from, op.ID)
	case OpSettle:
		t.settle(from, op.IDs)
	case OpTick:
		r.tick(op)
	}
	return Verdict{Kind: OK}
}

// View gives the entries of members that left, or came back as others, to those
// who are there.
func (r *Rider) View(index uint64, v ring.View, freeAt ring.Instant) {
	t := r.live
	t.Index, t.View = index, v
	t.FreeAt = max(t.FreeAt, freeAt)
	if k := uint64(len(v.Members)); k > 0 {
		next := v.Number
		for _, e := range t.orphans() {
			t.hand(e, v.Members[next%k].Member)
			next++
		}
	}
	r.publish()
}

// orphans are the entries without an outcome whose owner is not in the view, by
// id.
func (t *Table) orphans() []*Entry {
	type keyed struct {
		key string
		e   *Entry
	}
	var out []keyed
	for _, list := range [...]*tree{t.streams, t.effects} {
		list.Scan(func(k string, e *Entry) bool {
			if e.Outcome == nil && !t.View.Has(e.Owner) {
				out = append(out, keyed{k, e})
			}
			return true
		})
	}
	slices.SortFunc(out, func(a, b keyed) int { return strings.Compare(a.key, b.key) })
	entries := make([]*Entry, len(out))
	for i := range out {
		entries[i] = out[i].e
	}
	return entries
}

// hand makes to the owner of e.
func (t *Table) hand(e *Entry, to ring.Member) {
	c := *e
	c.Owner, c.State = to, Claimed
	c.Claims++
	t.Claimed++
	t.put(&c)
}

// put stores an entry in its trees.
func (t *Table) put(e *Entry) {
	k := e.ID.key()
	if e.Kind == Stream {
		t.streams.Set(k, e)
	} else {
		t.effects.Set(k, e)
	}
	if e.State == Claimed {
		t.claims.Set(k, e)
	} else {
		t.claims.Delete(k)
	}
}

// batch takes what a member tells of its streams. What it tells of others, or of
// streams that are not its own any more, is passed over.
func (t *Table) batch(from ring.Member, op *Op) {
	for i := range op.Begins {
		s := &op.Begins[i]
		id := EntryID{from, s.N}
		if e := t.Find(id); e != nil {
			if e.Kind == Stream && e.Owner == from {
				c := *e
				c.Request = s.clone()
				t.put(&c)
			}
			continue
		}
		if t.streams.Len() >= MaxStreams {
			t.Dropped++
			continue
		}
		t.Begun++
		t.put(&Entry{ID: id, Kind: Stream, Owner: from, State: Running, Request: s.clone()})
	}
	for _, p := range op.Offsets {
		if e, ok := t.streams.Get(EntryID{from, p.N}.key()); ok && e.Owner == from && p.Offset > e.Offset {
			c := *e
			c.Offset = p.Offset
			t.put(&c)
		}
	}
	for _, n := range op.Ends {
		k := EntryID{from, n}.key()
		if e, ok := t.streams.Get(k); ok && e.Owner == from {
			t.streams.Delete(k)
			t.claims.Delete(k)
		}
	}
}

// settle ends claimed streams that their owner does not go on with.
func (t *Table) settle(from ring.Member, ids []EntryID) {
	for _, id := range ids {
		k := id.key()
		e, ok := t.streams.Get(k)
		if !ok || e.Owner != from || e.State != Claimed {
			continue
		}
		t.streams.Delete(k)
		t.claims.Delete(k)
		t.Orphaned++
		c := *e
		c.State = Orphaned
		t.recent = append(t.recent, &c)
	}
	if n := len(t.recent) - MaxRecent; n > 0 {
		t.recent = slices.Delete(t.recent, 0, n)
	}
}

// clone lets go of the bytes that an op lies in.
func (q *Request) clone() Request {
	c := *q
	c.Head, c.Conn = bytes.Clone(q.Head), bytes.Clone(q.Conn)
	return c
}
