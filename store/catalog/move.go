package catalog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"rain/ring"
)

// move says that a column of a striped body lies on another node from now on.
type move struct {
	body     Sum
	column   uint16
	from, to ring.NodeID
}

// EncodeMove makes the op that moves a column of a body, named by Record.Body.
// The new node must have the column on its disk, synced. The op does nothing
// unless the column is at from, and to has none and is not one of those that the
// put chose for another column.
func EncodeMove(body Sum, column int, from, to ring.NodeID) ([]byte, error) {
	m := move{body, uint16(column), from, to}
	if column < 0 || !m.valid() {
		return nil, fmt.Errorf("catalog: move of column %d from %s to %s: %w", column, from, to, ErrMalformed)
	}
	return (&op{kind: opMove, move: m}).append(nil), nil
}

func (m move) valid() bool {
	return m.column < MaxColumns && m.from != m.to && m.from != 0 && m.to != 0
}

func (m move) appendTo(b []byte) []byte {
	b = append(b, m.body[:]...)
	b = binary.BigEndian.AppendUint16(b, m.column)
	b = binary.BigEndian.AppendUint32(b, uint32(m.from))
	return binary.BigEndian.AppendUint32(b, uint32(m.to))
}

func (r *reader) move() (m move) {
	copy(m.body[:], r.Take(len(m.body)))
	m.column = r.U16()
	m.from, m.to = ring.NodeID(r.U32()), ring.NodeID(r.U32())
	r.Bad = r.Bad || !m.valid()
	return m
}

// Chosen are the nodes that the put chose for the columns.
func (r *Record) Chosen() []ring.NodeID {
	if r.Origin != nil {
		return r.Origin
	}
	return r.Nodes
}

// MayTake reports whether a node that has no column may get this one. Who was
// chosen for another one may not: files of different columns have one name, and
// that one may still be on its disk.
func (r *Record) MayTake(id ring.NodeID, column int) bool {
	i := slices.Index(r.Chosen(), id)
	return r.Column(id) < 0 && (i < 0 || i == column)
}

// moved is the record with a column elsewhere; nil: it cannot be so.
func (r *Record) moved(m move) *Record {
	c := int(m.column)
	if c >= len(r.Nodes) || r.Nodes[c] != m.from || !r.MayTake(m.to, c) {
		return nil
	}
	n := *r
	n.Nodes = slices.Clone(r.Nodes)
	n.Nodes[c] = m.to
	n.Origin = r.Chosen()
	if slices.Equal(n.Nodes, n.Origin) {
		n.Origin = nil
	}
	return &n
}

// adopt gives a record the places of a body that is there already.
func (r *Record) adopt(old *Record) { r.Nodes, r.Origin = old.Nodes, old.Origin }

// checkOrigin holds a record whose columns have moved to what moves can bring
// about.
func (r *Record) checkOrigin() error {
	sorted := slices.Clone(r.Origin)
	slices.Sort(sorted)
	ok := len(r.Origin) == len(r.Nodes) && len(slices.Compact(sorted)) == len(r.Nodes) && !slices.Equal(r.Nodes, r.Origin)
	for c := 0; ok && c < len(r.Nodes); c++ {
		i := slices.Index(r.Origin, r.Nodes[c])
		ok = i < 0 || i == c
	}
	if !ok {
		return fmt.Errorf("catalog: columns moved from %v to %v: %w", r.Origin, r.Nodes, ErrMalformed)
	}
	return nil
}

// ownerKey orders the objects of striped bodies by body. A bucket has no NUL.
func ownerKey(body Sum, bucket, key string) string {
	return string(body[:]) + bucket + "\x00" + key
}

// own notes that an object has a striped body, or has it no more.
func (t *Table) own(r *Record, bucket, key string, has bool) {
	switch {
	case !r.Striped():
	case has:
		t.owners.Set(ownerKey(r.Body, bucket, key), struct{}{})
	default:
		t.owners.Delete(ownerKey(r.Body, bucket, key))
	}
}

func (t *Table) moveColumn(index uint64, m move) Result {
	body, ok := t.bodies.Get(string(m.body[:]))
	if !ok {
		return Result{Outcome: NoObject}
	}
	old := body.Rec
	rec := old.moved(m)
	if rec == nil {
		return Result{Outcome: CondFailed}
	}
	var touched []string
	t.owners.Ascend(string(m.body[:]), func(owner string, _ struct{}) bool {
		if !bytes.Equal([]byte(owner[:len(m.body)]), m.body[:]) {
			return false
		}
		name, key, _ := strings.Cut(owner[len(m.body):], "\x00")
		objects := t.live[name]
		r, _ := objects.Get(key)
		n := *r
		n.adopt(rec)
		objects.Set(key, &n)
		if len(touched) == 0 || touched[len(touched)-1] != name {
			touched = append(touched, name)
		}
		return true
	})
	for _, name := range touched {
		b, _ := t.buckets.Get(name)
		t.buckets.Set(name, b.with(t.live[name]))
	}
	body.Rec = rec
	t.bodies.Set(string(m.body[:]), body)
	t.spread(old, -1)
	t.spread(rec, 1)
	t.index = index
	t.publish()
	if t.notify != nil {
		t.notify(Change{Rec: old, Moved: true})
		t.notify(Change{Rec: rec, Needed: true, Moved: true})
	}
	return Result{Outcome: Moved}
}
