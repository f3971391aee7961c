package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

// A column moves when its node has left the layout or stays away: the node that
// is to have it, which all members find alike, makes it from the others, syncs
// it, and proposes the move. Before the op readers use the old place, after it
// the new one; a crash in between leaves an orphan. The old node collects its
// files after the grace.

const (
	moveEvery   = time.Second     // how often the layout is looked at
	planEvery   = 5 * time.Second // how often the whole catalog is, while nodes are leaving
	moveWorkers = 2
	moveBatch   = 64
)

// absences remembers since when nodes are out of the view.
type absences struct {
	mu   sync.Mutex
	from map[ring.NodeID]time.Time
}

// see takes note of who is there of those that matter.
func (a *absences) see(matter, members []ring.NodeID, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.from
	a.from = map[ring.NodeID]time.Time{}
	for _, id := range matter {
		if slices.Contains(members, id) {
			continue
		}
		if t, known := old[id]; known {
			a.from[id] = t
		} else {
			a.from[id] = now
		}
	}
}

// since is for how long the node has been away, as far as this life knows.
func (a *absences) since(id ring.NodeID, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.from[id]; ok {
		return now.Sub(t)
	}
	return 0
}

// movePlan says where columns belong now.
type movePlan struct {
	leaving map[ring.NodeID]bool // their columns belong elsewhere
	takers  []ring.NodeID        // storage nodes that are up and stay
	layout  *catalog.Layout
}

// columnMove is a column's way to another node; to is 0 if there is none.
type columnMove struct {
	rec      *catalog.Record
	column   int
	from, to ring.NodeID
}

// plan looks at the layout, the view and the clock.
func (s *Store) plan() *movePlan {
	p := &movePlan{leaving: map[ring.NodeID]bool{}, layout: s.table.Now().Layout()}
	storage, members := s.storage(), s.ring.Members()
	matter := slices.Clone(storage)
	s.table.Now().Spreads(func(sp catalog.Spread) bool {
		matter = append(matter, sp.Nodes...)
		return true
	})
	now := s.now()
	s.away.see(matter, members, now)
	for _, id := range matter {
		off := p.layout != nil && !p.layout.Has(id)
		if off || s.away.since(id, now) >= s.cfg.RebuildAfter && !slices.Contains(members, id) {
			p.leaving[id] = true
		}
	}
	for _, id := range storage {
		if slices.Contains(members, id) && !p.leaving[id] {
			p.takers = append(p.takers, id)
		}
	}
	return p
}

// moves says where the columns of a body go that have to leave.
func (p *movePlan) moves(rec *catalog.Record) (out []columnMove) {
	var taken []ring.NodeID
	for c, from := range rec.Nodes {
		if !p.leaving[from] {
			continue
		}
		var free []ring.NodeID
		for _, id := range p.takers {
			if rec.MayTake(id, c) && !slices.Contains(taken, id) {
				free = append(free, id)
			}
		}
		m := columnMove{rec: rec, column: c, from: from}
		switch heir := p.heirOf(from); {
		case slices.Contains(free, heir):
			m.to = heir
		case p.waitsFor(heir) && rec.MayTake(heir, c):
			// It is not up yet: the column waits for it.
		case len(free) == 0:
		default:
			seed := sha256.Sum256(binary.BigEndian.AppendUint16(rec.Body[:], uint16(c)))
			m.to = array.Place(seed, free, 1)[0]
		}
		taken = append(taken, m.to)
		out = append(out, m)
	}
	return out
}

func (p *movePlan) heirOf(id ring.NodeID) ring.NodeID {
	if p.layout == nil {
		return 0
	}
	return p.layout.HeirOf(id)
}

// waitsFor reports whether the node is to take columns and is not up now.
func (p *movePlan) waitsFor(id ring.NodeID) bool {
	return id != 0 && !p.leaving[id] && !slices.Contains(p.takers, id)
}

// needed reports whether any body has a column on a node that is leaving.
func (p *movePlan) needed(v *catalog.View) (yes bool) {
	if len(p.leaving) == 0 {
		return false
	}
	v.Spreads(func(sp catalog.Spread) bool {
		yes = slices.ContainsFunc(sp.Nodes, func(id ring.NodeID) bool { return p.leaving[id] })
		return !yes
	})
	return yes
}

// mover is what this node is about to take over, for the status.
type mover struct {
	columns, bytes atomic.Int64
	rested         time.Time // when the whole catalog was last looked at
	later          map[catalog.Sum]retry
}

func (s *Store) moveLoop(ctx context.Context) {
	pace := &pacer{rate: s.cfg.RepairBytesPerSecond}
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	soon := false
	for {
		p := s.plan()
		if !p.needed(s.table.Now()) || s.ready() != nil {
			s.moving.columns.Store(0)
			s.moving.bytes.Store(0)
		} else if soon || time.Since(s.moving.rested) >= planEvery {
			for s.moveSome(ctx, p, pace) {
				p = s.plan()
			}
			s.moving.rested = time.Now()
		}
		select {
		case <-tick.C:
			soon = false
		case <-s.moveNow:
			soon = true
		case <-ctx.Done():
			return
		}
	}
}

// moveSome takes over a batch of columns. It reports whether there may be more to
// do now.
func (s *Store) moveSome(ctx context.Context, p *movePlan, pace *pacer) bool {
	if s.moving.later == nil {
		s.moving.later = map[catalog.Sum]retry{}
	}
	later, now := s.moving.later, time.Now()
	mine, columns := s.toTake(p, func(m columnMove) bool { return !now.Before(later[m.rec.Body].at) })
	if columns == 0 {
		clear(later)
	}
	if len(mine) == 0 || ctx.Err() != nil {
		return false
	}
	// Who could lose least comes first.
	slices.SortStableFunc(mine, func(a, b columnMove) int {
		return cmp.Compare(s.stored(a.rec)-int(a.rec.K), s.stored(b.rec)-int(b.rec.K))
	})
	s.moveBatch(ctx, mine[:min(len(mine), moveBatch)], pace)
	return ctx.Err() == nil
}

// toTake lists up to repairScan columns that this node is to take over and for
// which ok is true, and notes for the status how many there are in all.
func (s *Store) toTake(p *movePlan, ok func(columnMove) bool) (mine []columnMove, columns int64) {
	size, self, v := int64(0), s.ring.Self(), s.table.Now()
	if p.needed(v) {
		v.Bodies(nil, func(_ catalog.Sum, b catalog.Body) bool {
			for _, m := range p.moves(b.Rec) {
				if m.to != self {
					continue
				}
				pieces(m.rec, m.from, func(pc piece) { size += pc.size; columns++ })
				if len(mine) < repairScan && ok(m) {
					mine = append(mine, m)
				}
			}
			return true
		})
	}
	s.moving.columns.Store(columns)
	s.moving.bytes.Store(size)
	return mine, columns
}

func (s *Store) moveBatch(ctx context.Context, batch []columnMove, pace *pacer) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan columnMove)
	for range min(moveWorkers, len(batch)) {
		wg.Go(func() {
			for m := range work {
				err := s.takeOver(ctx, m, pace)
				mu.Lock()
				if r := s.moving.later[m.rec.Body]; err != nil && ctx.Err() == nil {
					r.wait = min(max(2*r.wait, time.Second), maxBackoff)
					r.at = time.Now().Add(r.wait)
					s.moving.later[m.rec.Body] = r
					s.log.LogAttrs(ctx, slog.LevelWarn, "column not taken over, trying again later",
						slog.String("sha256", m.rec.Hex), slog.String("from", m.from.String()), slog.Duration("in", r.wait), slog.Any("error", err))
				} else {
					delete(s.moving.later, m.rec.Body)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range batch {
		work <- m
	}
	close(work)
	wg.Wait()
}

// takeOver makes a column on this node's disk and has the catalog say so.
func (s *Store) takeOver(ctx context.Context, m columnMove, pace *pacer) error {
	l := layoutOf(m.rec)
	for part := range l.Parts() {
		if !s.stillMine(m) {
			return nil
		}
		p := piece{pieceName(m.rec.Body, part), symbol.FileLen(l, part), m.rec, part}
		if s.hasColumn(p.name, l, m.column) {
			continue // from an earlier try
		}
		if err := s.rebuildColumn(ctx, p, m.column, pace); err != nil {
			return err
		}
	}
	for part := range l.Parts() { // kept for the time of the op
		if name := pieceName(m.rec.Body, part); !s.hasColumn(name, l, m.column) {
			return fmt.Errorf("store: symbol %s was lost again: %w", name, errDamaged)
		}
	}
	op, err := catalog.EncodeMove(m.rec.Body, m.column, m.from, m.to)
	if err != nil {
		return err
	}
	_, err = s.propose(ctx, op)
	if errors.Is(err, ErrPrecondition) || errors.Is(err, ErrNotFound) {
		return nil // it is elsewhere by now, or deleted: what was made is an orphan
	}
	if err != nil {
		return fmt.Errorf("store: move column %d of %s from %s to %s: %w", m.column, m.rec.Hex, m.from, m.to, err)
	}
	return nil
}

// stillMine reports whether the column is still to come here.
func (s *Store) stillMine(m columnMove) bool {
	b, ok := s.table.Now().Body(m.rec.Body)
	return ok && slices.ContainsFunc(s.plan().moves(b.Rec), func(x columnMove) bool {
		return x.column == m.column && x.from == m.from && x.to == m.to
	})
}

// hasColumn reports whether this node's disk has that column's symbol, whole.
func (s *Store) hasColumn(name catalog.Sum, l array.Layout, column int) bool {
	if _, whole := s.bodies.claim(name); !whole {
		return false
	}
	f, _, i, err := s.openSymbol(name)
	if err != nil {
		return false
	}
	_ = f.Close() // nothing was written to it
	return i.Column == column && i.Layout() == l
}

// placed is the record with the body's places as they are now.
func (s *Store) placed(rec *catalog.Record) *catalog.Record {
	if b, ok := s.table.Now().Body(rec.Body); ok {
		return b.Rec
	}
	if r := s.pins.last(rec.Body); r != nil {
		return r
	}
	return rec
}
