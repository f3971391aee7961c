package catalog

import (
	"encoding/binary"
	"fmt"
	"slices"

	"rain/ring"
)

// MaxStorage bounds the storage nodes of a layout.
const MaxStorage = 256

// Heir takes over from a storage node that was replaced.
type Heir struct{ Old, New ring.NodeID }

// Layout is the list of the cluster's storage nodes, as an operator has set it.
// It is immutable.
type Layout struct {
	Version uint64        // index of the op that set it
	Nodes   []ring.NodeID // ascending
	// Heirs tell where the columns of replaced nodes go first, ascending by the
	// old node. An old node is not among Nodes, a new one is.
	Heirs []Heir
}

// Has reports whether the node is a storage node.
func (l *Layout) Has(id ring.NodeID) bool {
	_, ok := slices.BinarySearch(l.Nodes, id)
	return ok
}

// HeirOf is the node that replaced another one; 0: none did.
func (l *Layout) HeirOf(old ring.NodeID) ring.NodeID {
	for _, h := range l.Heirs {
		if h.Old == old {
			return h.New
		}
	}
	return 0
}

// check holds a layout to the limits and to its one form.
func (l *Layout) check() error {
	ascending := func(n int, at func(int) ring.NodeID) bool {
		for i := 1; i < n; i++ {
			if at(i) <= at(i-1) {
				return false
			}
		}
		return n == 0 || at(0) != 0
	}
	switch {
	case len(l.Nodes) < 1 || len(l.Nodes) > MaxStorage || len(l.Heirs) > MaxStorage:
		return fmt.Errorf("catalog: layout of %d nodes and %d heirs; 1 to %d nodes are allowed: %w", len(l.Nodes), len(l.Heirs), MaxStorage, ErrMalformed)
	case !ascending(len(l.Nodes), func(i int) ring.NodeID { return l.Nodes[i] }),
		!ascending(len(l.Heirs), func(i int) ring.NodeID { return l.Heirs[i].Old }):
		return fmt.Errorf("catalog: layout with nodes out of order or twice: %w", ErrMalformed)
	}
	for _, h := range l.Heirs {
		if l.Has(h.Old) || !l.Has(h.New) {
			return fmt.Errorf("catalog: layout in which %s replaces %s: %w", h.New, h.Old, ErrMalformed)
		}
	}
	return nil
}

func (l *Layout) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.Nodes)))
	for _, id := range l.Nodes {
		b = binary.BigEndian.AppendUint32(b, uint32(id))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.Heirs)))
	for _, h := range l.Heirs {
		b = binary.BigEndian.AppendUint32(b, uint32(h.Old))
		b = binary.BigEndian.AppendUint32(b, uint32(h.New))
	}
	return b
}

// layout reads what appendTo wrote.
func (r *reader) layout() *Layout {
	l := &Layout{}
	n := r.U16()
	r.Bad = r.Bad || n > MaxStorage
	for range n {
		if r.Bad {
			break
		}
		l.Nodes = append(l.Nodes, ring.NodeID(r.U32()))
	}
	n = r.U16()
	r.Bad = r.Bad || n > MaxStorage
	for range n {
		if r.Bad {
			break
		}
		l.Heirs = append(l.Heirs, Heir{ring.NodeID(r.U32()), ring.NodeID(r.U32())})
	}
	if r.Bad || l.check() != nil {
		r.Bad = true
		return nil
	}
	return l
}

// EncodeLayout makes the op that sets the layout. base is the version of the one
// that it was made from, 0 if none was set: of two changes at once one fails.
func EncodeLayout(base uint64, l Layout) ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	o := &op{kind: opLayout, base: base, layout: &l}
	return o.append(nil), nil
}

func (t *Table) setLayout(index uint64, o *op) Result {
	base := uint64(0)
	if t.layout != nil {
		base = t.layout.Version
	}
	if o.base != base {
		return Result{Outcome: CondFailed, Version: base}
	}
	l := *o.layout
	l.Version = index
	t.layout = &l
	t.index = index
	t.publish()
	if base == 0 {
		return Result{Outcome: Created, Version: index}
	}
	return Result{Outcome: Replaced, Version: index}
}
