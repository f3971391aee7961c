package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// ErrLayout says that a change of the layout is not possible.
var ErrLayout = errors.New("the layout cannot be changed so")

// storage are the nodes on which striped objects lie: the layout that an
// operator has set, else the ring's list.
func (s *Store) storage() []ring.NodeID {
	if l := s.table.Now().Layout(); l != nil {
		return l.Nodes
	}
	return s.ring.Storage()
}

// AddStorage makes a node a storage node: new objects use it.
func (s *Store) AddStorage(ctx context.Context, id ring.NodeID) error {
	return s.changeLayout(ctx, func(l *catalog.Layout) error {
		if l.Has(id) {
			return fmt.Errorf("%s is a storage node already: %w", id, ErrLayout)
		}
		l.Nodes = append(l.Nodes, id)
		l.Heirs = slices.DeleteFunc(l.Heirs, func(h catalog.Heir) bool { return h.Old == id })
		return nil
	})
}

// RemoveStorage takes a node off the layout: its columns move to nodes that have
// none of the object, where there are such.
func (s *Store) RemoveStorage(ctx context.Context, id ring.NodeID) error {
	return s.changeLayout(ctx, func(l *catalog.Layout) error { return removeFrom(l, id) })
}

// ReplaceStorage puts a node into another one's place: the columns go there.
func (s *Store) ReplaceStorage(ctx context.Context, old, by ring.NodeID) error {
	return s.changeLayout(ctx, func(l *catalog.Layout) error {
		if l.Has(by) {
			return fmt.Errorf("%s is a storage node already: %w", by, ErrLayout)
		}
		if err := removeFrom(l, old); err != nil {
			return err
		}
		l.Nodes = append(l.Nodes, by)
		l.Heirs = slices.DeleteFunc(l.Heirs, func(h catalog.Heir) bool { return h.Old == by || h.Old == old })
		l.Heirs = append(l.Heirs, catalog.Heir{Old: old, New: by})
		return nil
	})
}

func removeFrom(l *catalog.Layout, id ring.NodeID) error {
	if !l.Has(id) {
		return fmt.Errorf("%s is no storage node: %w", id, ErrLayout)
	}
	l.Nodes = slices.DeleteFunc(l.Nodes, func(x ring.NodeID) bool { return x == id })
	l.Heirs = slices.DeleteFunc(l.Heirs, func(h catalog.Heir) bool { return h.New == id })
	return nil
}

// changeLayout sets the layout that change makes of a copy of the present one.
func (s *Store) changeLayout(ctx context.Context, change func(*catalog.Layout) error) error {
	if err := s.ready(); err != nil {
		return fmt.Errorf("store: layout: %w", err)
	}
	next, base := catalog.Layout{Nodes: slices.Clone(s.storage())}, uint64(0)
	if l := s.table.Now().Layout(); l != nil {
		base, next.Heirs = l.Version, slices.Clone(l.Heirs)
	}
	slices.Sort(next.Nodes)
	if err := change(&next); err != nil {
		return fmt.Errorf("store: layout: %w", err)
	}
	slices.Sort(next.Nodes)
	slices.SortFunc(next.Heirs, func(a, b catalog.Heir) int { return int(int64(a.Old) - int64(b.Old)) })
	if err := s.fits(len(next.Nodes)); err != nil {
		return fmt.Errorf("store: layout: %w", err)
	}
	op, err := catalog.EncodeLayout(base, next)
	if err != nil {
		return fmt.Errorf("store: layout: %w: %w", ErrLayout, err)
	}
	if _, err := s.propose(ctx, op); err != nil {
		if errors.Is(err, ErrPrecondition) {
			err = fmt.Errorf("%w: somebody else changed it at the same time; look at it and try again", ErrLayout)
		}
		return fmt.Errorf("store: layout: %w", err)
	}
	kick(s.moveNow)
	return nil
}

// fits reports whether that many storage nodes keep what all buckets promise.
func (s *Store) fits(nodes int) error {
	if nodes == 0 {
		return fmt.Errorf("no storage node would be left: %w", ErrLayout)
	}
	v, now := s.table.Now(), len(s.storage())
	for _, name := range v.Buckets() {
		i, _ := v.Bucket(name)
		spec := BucketSpec{Code{int(i.N), int(i.K)}, int(i.MinSurvives)}
		// What was broken before is not this change's fault.
		if err := s.possible(spec, nodes); err != nil && s.possible(spec, now) == nil {
			return fmt.Errorf("%w: bucket %s: %w", ErrLayout, name, err)
		}
	}
	return nil
}

// StorageNode is one node's part in the layout.
type StorageNode struct {
	ID      ring.NodeID
	Storage bool        // of the layout
	Heir    ring.NodeID // who replaces it; 0: nobody
	Up      bool
	Away    time.Duration // since when it is down, as this node knows
	Leaving bool          // its columns belong elsewhere: not of the layout, or away too long

	Symbols      int   // what the catalog has there: symbol files, without small bodies
	Bytes        int64 // of them
	Moving       int   // of them, on their way to another node
	MovingBytes  int64
	Stuck        int // of them, leaving with no node to take them
	Missing      int // what it lacks of its own, or is to take over; -1: it has not told
	MissingBytes int64
	ETA          time.Duration // until it has them, at the allowed rate; 0 if it is down
}

// LayoutReport describes where content lives.
type LayoutReport struct {
	Version      uint64 // of the layout; 0: none was set, it follows the members
	RebuildAfter time.Duration
	Wholes       int   // bodies of up to 64 KiB: they lie on every member
	WholeBytes   int64 // of one copy of all of them
	Nodes        []StorageNode
}

// Layout reads the whole catalog: it is for people, not for requests.
func (s *Store) Layout() LayoutReport {
	v := s.table.Now()
	r := LayoutReport{RebuildAfter: s.cfg.RebuildAfter}
	if l := v.Layout(); l != nil {
		r.Version = l.Version
	}
	plan := s.plan()
	rows := map[ring.NodeID]*StorageNode{}
	row := func(id ring.NodeID) *StorageNode {
		if rows[id] == nil {
			rows[id] = s.storageRow(id, plan)
		}
		return rows[id]
	}
	for _, id := range slices.Concat(s.storage(), s.ring.Members()) {
		row(id)
	}
	p, self := s.places.Load(), s.ring.Self()
	repair := map[ring.NodeID]int64{} // bytes to be read
	v.Bodies(nil, func(_ catalog.Sum, b catalog.Body) bool {
		rec := b.Rec
		if !rec.Striped() {
			r.Wholes++
			r.WholeBytes += rec.Size
			return true
		}
		for _, id := range rec.Nodes {
			row, lacks := row(id), p.lacks[id]
			pieces(rec, id, func(pc piece) {
				row.Symbols++
				row.Bytes += pc.size
				if lacks[pc.name] || id == self && s.bodies.isMissing(pc.name) {
					row.Missing++
					row.MissingBytes += pc.size
					repair[id] += pc.size * int64(rec.K)
				}
			})
		}
		for _, m := range plan.moves(rec) {
			from := row(m.from)
			pieces(rec, m.from, func(pc piece) {
				if m.to == 0 {
					from.Stuck++
					return
				}
				to := row(m.to)
				from.Moving++
				from.MovingBytes += pc.size
				to.Missing++
				to.MissingBytes += pc.size
				repair[m.to] += pc.size
			})
		}
		return true
	})
	for id, n := range rows {
		if n.Up {
			n.ETA = time.Duration(float64(repair[id]) / float64(s.cfg.RepairBytesPerSecond) * float64(time.Second))
		}
		if _, told := p.lacks[id]; !told && id != self {
			n.Missing = -1
		}
		r.Nodes = append(r.Nodes, *n)
	}
	slices.SortFunc(r.Nodes, func(a, b StorageNode) int { return int(int64(a.ID) - int64(b.ID)) })
	return r
}

func (s *Store) storageRow(id ring.NodeID, p *movePlan) *StorageNode {
	n := &StorageNode{
		ID: id, Storage: slices.Contains(s.storage(), id), Up: slices.Contains(s.ring.Members(), id),
		Leaving: p.leaving[id],
	}
	if l := s.table.Now().Layout(); l != nil {
		n.Heir = l.HeirOf(id)
	}
	if !n.Up {
		n.Away = s.away.since(id, s.now())
	}
	return n
}

// union lists all nodes that are in one of the lists.
func union(a, b []ring.NodeID) []ring.NodeID {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
