package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// pollEvery is how often the members are asked what they lack.
const pollEvery = 2 * time.Second

// places is what this node knows of the other members' copies. It is immutable.
type places struct {
	// lacks holds the members that have told what they lack; who has not is
	// taken to have nothing.
	lacks map[ring.NodeID]map[catalog.Sum]bool
	full  int                    // members that lack nothing
	part  []map[catalog.Sum]bool // what the others lack
}

func newPlaces(lacks map[ring.NodeID]map[catalog.Sum]bool) *places {
	p := &places{lacks: lacks}
	for _, l := range lacks {
		if len(l) == 0 {
			p.full++
		} else {
			p.part = append(p.part, l)
		}
	}
	return p
}

// others counts the other members that have the body.
func (p *places) others(s catalog.Sum) int {
	n := p.full
	for _, l := range p.part {
		if !l[s] {
			n++
		}
	}
	return n
}

// copies is how many members have the whole body, as far as this node knows.
func (s *Store) copies(sum catalog.Sum) int {
	n := s.places.Load().others(sum)
	if !s.bodies.isMissing(sum) {
		n++
	}
	return n
}

// holders is how many members have the whole body, or their column of its part.
func (s *Store) holders(rec *catalog.Record, part int) int {
	if !rec.Striped() {
		return s.copies(rec.Sum)
	}
	p, name, n := s.places.Load(), pieceName(rec.Body, part), 0
	for _, id := range rec.Nodes {
		if id == s.ring.Self() {
			if !s.bodies.isMissing(name) {
				n++
			}
		} else if l, told := p.lacks[id]; told && !l[name] {
			n++
		}
	}
	return n
}

// stored is how many members have what they should have of the body.
func (s *Store) stored(rec *catalog.Record) int {
	n := s.holders(rec, 0)
	if !rec.Striped() || s.bodies.lacking.Load() == 0 && len(s.places.Load().part) == 0 {
		return n // nobody lacks anything: all parts are alike
	}
	for part := range layoutOf(rec).Parts() {
		n = min(n, s.holders(rec, part))
	}
	return n
}

// changePlaces replaces what is known by what f makes of a copy of it.
func (s *Store) changePlaces(f func(lacks map[ring.NodeID]map[catalog.Sum]bool)) {
	s.placeMu.Lock()
	defer s.placeMu.Unlock()
	lacks := maps.Clone(s.places.Load().lacks)
	if lacks == nil {
		lacks = map[ring.NodeID]map[catalog.Sum]bool{}
	}
	f(lacks)
	s.places.Store(newPlaces(lacks))
}

// keepPlaces forgets the members that are not in the view.
func (s *Store) keepPlaces(in func(ring.NodeID) bool) {
	s.changePlaces(func(lacks map[ring.NodeID]map[catalog.Sum]bool) {
		maps.DeleteFunc(lacks, func(id ring.NodeID, _ map[catalog.Sum]bool) bool { return !in(id) })
	})
}

// noteLeftOut remembers which members a put went on without.
func (s *Store) noteLeftOut(rec *catalog.Record, f *fanout) {
	if len(f.failed)+len(f.pending) == 0 {
		return
	}
	s.changePlaces(func(lacks map[ring.NodeID]map[catalog.Sum]bool) {
		for id, l := range lacks {
			if f.acked[id] {
				continue
			}
			if l = maps.Clone(l); l == nil {
				l = map[catalog.Sum]bool{}
			}
			pieces(rec, id, func(p piece) { l[p.name] = true })
			lacks[id] = l
		}
	})
	kick(s.pollNow)
}

func (s *Store) pollLoop(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		s.poll(ctx)
		select {
		case <-t.C:
		case <-s.pollNow:
		case <-ctx.Done():
			return
		}
	}
}

// poll asks each other member what it lacks.
func (s *Store) poll(ctx context.Context) {
	for _, m := range s.ring.Members() {
		if m == s.ring.Self() || ctx.Err() != nil {
			continue
		}
		l, n, err := s.askLacks(ctx, m)
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelDebug, "member did not tell what it lacks",
				slog.String("peer", m.String()), slog.Any("error", err))
		}
		s.changePlaces(func(lacks map[ring.NodeID]map[catalog.Sum]bool) {
			if err != nil || n > len(l) {
				delete(lacks, m) // it tells only some: count on none
			} else {
				lacks[m] = l
			}
		})
	}
	members := s.ring.Members()
	s.keepPlaces(func(id ring.NodeID) bool {
		for _, m := range members {
			if m == id {
				return true
			}
		}
		return false
	})
}

// askLacks returns up to maxLacks of the bodies that a member lacks, and how
// many it lacks.
func (s *Store) askLacks(ctx context.Context, peer ring.NodeID) (set map[catalog.Sum]bool, n int, err error) {
	err = s.call(ctx, peer, serviceLack, func(conn net.Conn) error {
		c, release := guardConn(ctx, conn, s.cfg.PeerStall)
		defer release()
		if _, err := c.Write(request{kind: kindLack}.append(nil)); err != nil {
			return err
		}
		var b [4]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return err
		}
		n = int(binary.BigEndian.Uint32(b[:]))
		set = make(map[catalog.Sum]bool, min(n, maxLacks))
		for range min(n, maxLacks) {
			var sum catalog.Sum
			if _, err := io.ReadFull(c, sum[:]); err != nil {
				return err
			}
			set[sum] = true
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("store: ask %s what it lacks: %w", peer, err)
	}
	return set, n, nil
}

// Tolerance is how many members may be lost at once with every object whole;
// known is false while there are no objects.
func (s *Store) Tolerance() (data int, known bool) {
	v := s.table.Now()
	if v.Objects() == 0 {
		return 0, false
	}
	p := s.places.Load()
	data = math.MaxInt
	if v.Wholes() > 0 {
		data = p.full + len(p.part)
	}
	v.Spreads(func(sp catalog.Spread) bool {
		n := 0
		for _, id := range sp.Nodes {
			if _, told := p.lacks[id]; told || id == s.ring.Self() {
				n++
			}
		}
		data = min(data, n-sp.K)
		return true
	})
	weaker := func(id ring.NodeID, name catalog.Sum) {
		if pc, ok := findPiece(v, name, id); ok {
			data = min(data, s.holders(pc.rec, pc.part)-int(pc.rec.K))
		}
	}
	for id, l := range p.lacks {
		for name := range l {
			weaker(id, name)
		}
	}
	own, n, _ := s.bodies.lacks(maxLacks, nil)
	for _, pc := range own {
		weaker(s.ring.Self(), pc.name)
	}
	if n > len(own) {
		data = 0 // too many to look at: count on nothing
	}
	return max(data, 0), true
}
