package queue

import (
	"slices"

	"github.com/tidwall/btree"

	"rain/ring"
)

type tree = btree.Map[string, *Entry]

// Table is the queue at one moment. It never changes: share it freely.
type Table struct {
	Index uint64 // of the newest op or view in it
	View  ring.View
	// FreeAt is when what belonged to members that left may be acted on, by this
	// host's clock; it is not part of the replicated state.
	FreeAt ring.Instant

	Counters
	Age   uint64 // cluster time, ms
	Ticks uint64 // so many ticks make it; the next one has this Seq

	streams     *tree // by EntryID.key
	effects     *tree
	claims      *tree                      // of both: state Claimed
	keys        *btree.Map[string, string] // keyName -> EntryID.key
	bodies      *btree.Map[string, int]    // content that effects refer to, by its Sum
	recent      []*Entry                   // orphaned streams, oldest first
	effectBytes int
	ended       int // effects with an outcome
	changed     chan struct{}
}

// Counters count since the cluster's founding.
type Counters struct {
	Begun    uint64 // streams and effects that came onto the queue
	Claimed  uint64 // changes of an entry's owner after the old one left
	Orphaned uint64 // claimed streams that nobody went on with
	Replayed uint64 // repeats that got a recorded outcome
	Dropped  uint64 // streams that found no room; their requests went on
	Refused  uint64 // effects that found no room
}

func newTable() *Table {
	return &Table{
		streams: new(tree), effects: new(tree), claims: new(tree),
		keys: new(btree.Map[string, string]), bodies: new(btree.Map[string, int]), changed: make(chan struct{}),
	}
}

// frozen is a copy that later changes of t do not touch.
func (t *Table) frozen() *Table {
	c := *t
	c.streams, c.effects, c.claims = t.streams.Copy(), t.effects.Copy(), t.claims.Copy()
	c.keys, c.bodies = t.keys.Copy(), t.bodies.Copy()
	c.recent = slices.Clone(t.recent)
	c.changed = make(chan struct{})
	return &c
}

// Changed is closed when there is a newer table.
func (t *Table) Changed() <-chan struct{} { return t.changed }

// Length is the number of requests that run: streams, and effects without an
// outcome.
func (t *Table) Length() int { return t.streams.Len() + t.effects.Len() - t.ended }

// Streams is the number of streams.
func (t *Table) Streams() int { return t.streams.Len() }

// Effects is the number of effects, also of those that have ended and are kept.
func (t *Table) Effects() int { return t.effects.Len() }

// EffectBytes is what effects count of MaxEffectBytes.
func (t *Table) EffectBytes() int { return t.effectBytes }

// Find returns the entry, or nil: it never was, is over, or was dropped.
func (t *Table) Find(id EntryID) *Entry {
	k := id.key()
	if e, ok := t.streams.Get(k); ok {
		return e
	}
	e, _ := t.effects.Get(k)
	return e
}

// Lookup returns the effect that has the key in the scope, or nil. A running one
// may have ended meanwhile elsewhere, nil may be another member's news: only
// Begin decides. An outcome is an outcome.
func (t *Table) Lookup(scope string, key Sum) *Entry {
	id, ok := t.keys.Get(keyName(scope, key))
	if !ok {
		return nil
	}
	e, _ := t.effects.Get(id)
	return e
}

// Claims are the entries that m owns since their owner left, by id. Its runner
// settles the streams and runs the effects; see the acting rule.
func (t *Table) Claims(m ring.Member) []*Entry {
	var out []*Entry
	t.claims.Scan(func(_ string, e *Entry) bool {
		if e.Owner == m {
			out = append(out, e)
		}
		return true
	})
	return out
}

// Running calls f for each stream and each effect without an outcome, streams
// first, by id, until f returns false.
func (t *Table) Running(f func(*Entry) bool) {
	more := true
	t.streams.Scan(func(_ string, e *Entry) bool {
		more = f(e)
		return more
	})
	if !more {
		return
	}
	t.effects.Scan(func(_ string, e *Entry) bool { return e.Outcome != nil || f(e) })
}

// Of calls f for each stream that m began, by N, until f returns false.
func (t *Table) Of(m ring.Member, f func(*Entry) bool) {
	t.streams.Ascend(EntryID{Member: m}.key(), func(_ string, e *Entry) bool { return e.ID.Member == m && f(e) })
}

// Recent are the last orphaned streams, oldest first.
func (t *Table) Recent() []*Entry { return t.recent }

// Needs reports whether an effect refers to the stored content, which must not be
// collected then.
func (t *Table) Needs(body Sum) bool {
	n, _ := t.bodies.Get(string(body[:]))
	return n > 0
}
