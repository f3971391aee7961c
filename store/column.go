package store

import (
	"fmt"

	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

// columnWriter writes one column of a body to this node's disk, part by part.
// discard must be called at the end.
type columnWriter struct {
	s      *Store
	code   array.Geometry
	column int
	temps  []*temp
	wide   *wide // of the last part; nil: nothing was written
	blocks int64
	last   int // length of the last unit
}

// room is where the next unit, of n bytes, goes with its checksum behind it; when
// they are there, wrote is called.
func (w *columnWriter) room(n int) ([]byte, error) {
	if n < 1 || n > w.code.Unit || w.blocks > 0 && w.last < w.code.Unit {
		return nil, fmt.Errorf("store: unit of %d bytes after %d of %d: %w", n, w.blocks, w.last, errWire)
	}
	if w.blocks%w.code.PartBlocks() == 0 {
		if err := w.nextPart(); err != nil {
			return nil, err
		}
	}
	return w.wide.room(n + symbol.SumLen), nil
}

func (w *columnWriter) wrote(n int) error {
	if err := w.wide.take(w.temps[len(w.temps)-1], n+symbol.SumLen); err != nil {
		return w.s.disk.note(err)
	}
	w.blocks, w.last = w.blocks+1, n
	return nil
}

// copy takes the next unit with its checksum behind it.
func (w *columnWriter) copy(b []byte) error {
	n := len(b) - symbol.SumLen
	room, err := w.room(n)
	if err != nil {
		return err
	}
	copy(room, b)
	return w.wrote(n)
}

func (w *columnWriter) nextPart() error {
	if err := w.settle(); err != nil {
		return err
	}
	t, err := w.s.disk.temp()
	if err != nil {
		return err
	}
	w.temps = append(w.temps, t)
	if w.wide == nil {
		w.wide = w.s.takeWide(w.code)
	}
	return nil
}

// settle writes what is left of the part.
func (w *columnWriter) settle() error {
	if len(w.temps) == 0 {
		return nil
	}
	if err := w.wide.settle(w.temps[len(w.temps)-1]); err != nil {
		return w.s.disk.note(err)
	}
	return nil
}

// commit writes the trailers, brings all to the disk and takes the pieces in.
func (w *columnWriter) commit(e columnEnd) error {
	l := array.Layout{Geometry: w.code, Size: e.size}
	if e.size < 1 || w.blocks != l.Blocks() || w.last != l.UnitLen(w.blocks-1) {
		return fmt.Errorf("store: %d units, the last of %d bytes, for a body of %d: %w", w.blocks, w.last, e.size, errDamaged)
	}
	if err := w.settle(); err != nil {
		return err
	}
	names := make([]catalog.Sum, len(w.temps))
	for p, t := range w.temps {
		names[p] = pieceName(e.body, p)
		if err := w.s.trail(t, symbol.Info{Body: e.body, Sum: e.sum, Size: e.size, Code: w.code, Column: w.column, Part: p}); err != nil {
			return err
		}
	}
	if err := w.s.disk.commitAll(w.temps, names); err != nil {
		return err
	}
	for p, name := range names {
		w.s.bodies.addPut(name, symbol.FileLen(l, p))
	}
	return nil
}

// trail writes a symbol file's trailer.
func (s *Store) trail(t *temp, i symbol.Info) error {
	if _, err := t.Write(i.Append(nil)); err != nil {
		return s.disk.note(err)
	}
	return nil
}

func (w *columnWriter) discard() {
	for _, t := range w.temps {
		w.s.disk.discard(t)
	}
	if w.wide != nil {
		w.s.wides.Put(w.wide)
		w.wide = nil
	}
}

// presentColumn reports whether this node's column of the body is on its disk
// whole, and keeps it there for the time of a put.
func (s *Store) presentColumn(body catalog.Sum, l array.Layout) bool {
	for p := range l.Parts() {
		if !s.present(pieceName(body, p), symbol.FileLen(l, p)) {
			return false
		}
	}
	return true
}
