package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

// rebuild makes a piece of a striped body anew: its good units from this disk,
// the others from k other columns.
func (s *Store) rebuild(ctx context.Context, p piece, pace *pacer) error {
	return s.rebuildColumn(ctx, p, p.rec.Column(s.ring.Self()), pace)
}

// rebuildColumn writes a column of a part to this disk, whosever it is.
func (s *Store) rebuildColumn(ctx context.Context, p piece, column int, pace *pacer) error {
	l := layoutOf(p.rec)
	if err := s.disk.room(p.size); err != nil {
		return err
	}
	t, err := s.disk.temp()
	if err != nil {
		return err
	}
	defer s.disk.discard(t)
	wanted := make([]bool, p.rec.N)
	wanted[column] = true
	first, end := l.Part(p.part)
	for ; first < end; first += l.WindowBlocks() {
		r := unitRange{l, p.rec.Body, p.part, first, min(first+l.WindowBlocks(), end)}
		if err := s.rebuildRange(ctx, t, p.rec, r, wanted, column, pace); err != nil {
			return fmt.Errorf("store: rebuild symbol %s: %w", p.name, err)
		}
	}
	i := symbol.Info{Body: p.rec.Body, Sum: p.rec.Sum, Size: p.rec.Size, Code: l.Geometry, Column: column, Part: p.part}
	if err := s.trail(t, i); err != nil {
		return err
	}
	if err := s.disk.commitAll([]*temp{t}, []catalog.Sum{p.name}); err != nil {
		return err
	}
	s.bodies.add(p.name, p.size, true)
	s.repaired.Add(p.size)
	return nil
}

func (s *Store) rebuildRange(ctx context.Context, t *temp, rec *catalog.Record, r unitRange, wanted []bool, column int, pace *pacer) error {
	if err := pace.wait(ctx, int(r.len())*int(rec.K)); err != nil {
		return err
	}
	g, err := s.gather(ctx, rec, r, wanted)
	if err != nil {
		return err
	}
	defer g.release()
	out := make([]byte, 0, r.len())
	for i, units := range g.units {
		out = append(out, units[column]...)
		out = binary.BigEndian.AppendUint32(out, symbol.Checksum(units[column], column, r.first+int64(i)))
	}
	if _, err := t.Write(out); err != nil {
		return s.disk.note(err)
	}
	return nil
}

// verifySymbol reads a symbol file whole; bad units are rebuilt later.
func (s *Store) verifySymbol(ctx context.Context, f *os.File, local *local, i symbol.Info, pace *pacer) error {
	l := i.Layout()
	first, end := l.Part(i.Part)
	name := pieceName(i.Body, i.Part)
	for ; first < end; first += l.WindowBlocks() {
		to := min(first+l.WindowBlocks(), end)
		raw := s.raw(symbol.RangeLen(l, first, to))
		s.readUnits(f, local, i, first, to, make([][]byte, to-first), raw)
		n := len(raw)
		s.freeRaw(raw)
		if err := pace.wait(ctx, n); err != nil {
			return err
		}
	}
	if _, whole := s.bodies.touch(name); !whole {
		return fmt.Errorf("store: symbol %s: %w", name, errDamaged)
	}
	s.bodies.setVerified(local)
	return nil
}

// symbolHere opens the piece as a symbol file; nil: it is a whole body, or an
// orphan of which nobody knows.
func (s *Store) symbolHere(name catalog.Sum) (*os.File, *local, symbol.Info, error) {
	p, needed := findPiece(s.table.Now(), name, s.ring.Self())
	if needed && p.rec.Striped() {
		return s.openSymbol(name)
	}
	if needed {
		return nil, nil, symbol.Info{}, nil
	}
	l, size, _ := s.bodies.get(name)
	if l == nil {
		return nil, nil, symbol.Info{}, nil
	}
	f, err := s.disk.fs.open(s.disk.path(name))
	if err != nil {
		return nil, nil, symbol.Info{}, nil
	}
	i, err := symbol.ReadInfo(f, size)
	if err != nil || pieceName(i.Body, i.Part) != name {
		return nil, nil, i, f.Close()
	}
	return f, l, i, nil
}

// reachable is nil if k columns of each part of the body may be had now: from
// this disk, from members, and from others that said so a moment ago.
func (s *Store) reachable(rec *catalog.Record) error {
	places, members := s.places.Load(), s.ring.Members()
	for part := range layoutOf(rec).Parts() {
		name, n := pieceName(rec.Body, part), 0
		for _, id := range rec.Nodes {
			if id == s.ring.Self() {
				if l, _, _ := s.bodies.get(name); l != nil {
					n++
				}
				continue
			}
			if slices.Contains(members, id) && !places.lacks[id][name] || s.outside.has(id, name) {
				n++
			}
		}
		if n < int(rec.K) {
			return fmt.Errorf("store: %d of the %d symbols needed of %s are in reach: %w: %w", n, rec.K, rec.Hex, ErrUnavailable, errTooFew)
		}
	}
	return nil
}

var errNoCode = errors.New("a bucket's code is 'n,k' with 1 <= k <= n")

// checkCode holds a bucket's code to the limits; 0, 0: the cluster's own.
func checkCode(n, k int) error {
	if n == 0 && k == 0 {
		return nil
	}
	if err := (array.Geometry{N: n, K: k, Unit: 1}).Check(); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrBadName, errNoCode, err)
	}
	return nil
}
