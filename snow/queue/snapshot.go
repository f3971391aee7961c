package queue

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"rain/ring"
	"rain/ring/wire"
)

// Snapshot format, version 1, in the words of the op format:
//
//	version u8 | begun, claimed, orphaned, replayed, dropped, refused, age, ticks: each u64
//	view u64 | count u16 | members by id, each member | since u64
//	count u32 | streams by id | count u32 | effects by id | count u32 | recent, oldest first
//	entry    id | kind u8 | owner member | state u8 | offset u64 | claims u32 | request; of an effect also:
//	         scope text8 | key flagged | fingerprint sum | name text8 | input text16 | body flagged | 0 u8, or 1 u8 | outcome
//	outcome  index u64 | age u64 | at u64 | answer text16 | body flagged | result text16
//
// The view is in it, though the ring tells it after most restores: after a start
// from the disk it does not, and ops that follow the snapshot depend on it.
// FreeAt is not: it is by this host's clock.
const snapshotVersion = 1

// maxSnapshot is more than a full table needs.
const maxSnapshot = 2*MaxEffectBytes + (MaxStreams+MaxRecent)*4096

// ErrSnapshot says that bytes are no snapshot of this version.
var ErrSnapshot = errors.New("queue: malformed snapshot")

// Snapshot writes the whole table.
func (r *Rider) Snapshot(w io.Writer) error {
	t := r.Table()
	b := append(make([]byte, 0, 1024+t.streams.Len()*512+t.effectBytes), snapshotVersion)
	for _, n := range [...]uint64{t.Begun, t.Claimed, t.Orphaned, t.Replayed, t.Dropped, t.Refused, t.Age, t.Ticks} {
		b = appendU64(b, n)
	}
	b = appendU16(appendU64(b, t.View.Number), len(t.View.Members))
	for _, m := range t.View.Members {
		b = appendU64(appendMember(b, m.Member), m.Since)
	}
	for _, list := range [...]*tree{t.streams, t.effects} {
		b = appendU32(b, uint32(list.Len()))
		list.Scan(func(_ string, e *Entry) bool {
			b = e.append(b)
			return true
		})
	}
	b = appendU32(b, uint32(len(t.recent)))
	for _, e := range t.recent {
		b = e.append(b)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("queue: write snapshot: %w", err)
	}
	return nil
}

// Restore replaces the table. After an error it is as it was.
func (r *Rider) Restore(src io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(src, maxSnapshot+1))
	if err != nil {
		return fmt.Errorf("queue: read snapshot: %w", err)
	}
	t, err := parseSnapshot(b)
	if err != nil {
		return err
	}
	t.FreeAt = r.live.FreeAt
	r.live, r.keyed, r.unkeyed = t, nil, nil
	for _, e := range t.endedInOrder() {
		r.remember(e)
	}
	r.publish()
	return nil
}

func (t *Table) endedInOrder() []*Entry {
	var out []*Entry
	t.effects.Scan(func(_ string, e *Entry) bool {
		if e.Outcome != nil {
			out = append(out, e)
		}
		return true
	})
	slices.SortFunc(out, func(a, b *Entry) int { return cmp.Compare(a.Outcome.Index, b.Outcome.Index) })
	return out
}

func (e *Entry) append(b []byte) []byte {
	b = appendMember(append(appendID(b, e.ID), byte(e.Kind)), e.Owner)
	b = appendU32(appendU64(append(b, byte(e.State)), e.Offset), e.Claims)
	b = appendRequest(b, &e.Request)
	if e.Kind != Effect {
		return b
	}
	b = appendFlagged(append8(b, e.Scope), e.HasKey, e.Key)
	b = append8(append(b, e.Fingerprint[:]...), e.Name)
	b = appendSum(append16(b, string(e.Input)), e.Body)
	if e.Outcome == nil {
		return append(b, 0)
	}
	return e.Outcome.append(append(b, 1))
}

// entry reads one and lets go of the bytes it lay in.
func (r *reader) entry() *Entry {
	e := &Entry{ID: r.id(), Kind: Kind(r.U8()), Owner: r.member(), State: State(r.U8()), Offset: r.U64(), Claims: r.U32()}
	q := r.request()
	e.Request = q.clone()
	switch e.Kind {
	case Stream:
		return e
	case Effect:
	default:
		r.Bad = true
		return e
	}
	e.Scope = r.text8(MaxScope)
	e.HasKey, e.Key = r.flagged()
	r.copySum(&e.Fingerprint)
	e.Name, e.Input, e.Body = r.text8(MaxName), bytes.Clone(r.bytes16(MaxInput)), r.sum()
	switch r.U8() {
	case 0:
	case 1:
		o := r.outcome()
		o.Answer, o.Result = bytes.Clone(o.Answer), bytes.Clone(o.Result)
		e.Outcome = o
	default:
		r.Bad = true
	}
	return e
}

func parseSnapshot(b []byte) (*Table, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	if v := r.U8(); v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this program speaks %d", ErrSnapshot, v, snapshotVersion)
	}
	t := newTable()
	for _, n := range [...]*uint64{&t.Begun, &t.Claimed, &t.Orphaned, &t.Replayed, &t.Dropped, &t.Refused, &t.Age, &t.Ticks} {
		*n = r.U64()
	}
	t.View = r.view()
	r.list(MaxStreams, func(e, last *Entry) bool {
		t.put(e)
		return e.Kind == Stream && (e.State == Running || e.State == Claimed) && e.after(last)
	})
	r.list(MaxEffects, func(e, last *Entry) bool {
		_, twice := t.streams.Get(e.ID.key()) // an id is one entry's
		ok := e.Kind == Effect && e.after(last) && e.endedRight(t) && !twice
		if e.HasKey {
			_, taken := t.keys.Get(e.keyName())
			ok = ok && !taken
		}
		t.addEffect(e)
		return ok
	})
	r.list(MaxRecent, func(e, _ *Entry) bool {
		t.recent = append(t.recent, e)
		return e.Kind == Stream && e.State == Orphaned
	})
	if !r.Done() {
		return nil, fmt.Errorf("%w: %d bytes, %d of them left over", ErrSnapshot, len(b), len(r.B))
	}
	return t, nil
}

func (r *reader) view() (v ring.View) {
	v.Number = r.U64()
	for range r.count(20) {
		m := ring.ViewMember{Member: r.member(), Since: r.U64()}
		if n := len(v.Members); n > 0 && v.Members[n-1].ID >= m.ID {
			r.Bad = true
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// list reads a counted list; take gets each entry and the one before, and says
// whether it may stand there.
func (r *reader) list(limit int, take func(e, last *Entry) bool) {
	n := int(r.U32())
	r.Bad = r.Bad || n > limit
	var last *Entry
	for i := 0; i < n && !r.Bad; i++ {
		e := r.entry()
		if r.Bad || !take(e, last) {
			r.Bad = true
			return
		}
		last = e
	}
}

func (e *Entry) after(last *Entry) bool { return last == nil || e.ID.key() > last.ID.key() }

// endedRight reports whether state, input, key and outcome of an effect fit.
func (e *Entry) endedRight(t *Table) bool {
	if e.Outcome == nil {
		return e.State == Running || e.State == Claimed
	}
	return e.State == Done && e.Input == nil && e.Outcome.Age <= t.Age
}
