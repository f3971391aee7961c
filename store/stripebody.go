package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"rain/store/array"
	"rain/store/catalog"
)

const (
	// runs is how many sequential readers of one open object are told apart.
	runs = 16
	// wholeRead is from which length on a read at the beginning is taken for
	// the first of many.
	wholeRead = 32 << 10
	// readAhead is how many windows are loaded before they are asked for.
	readAhead = 2
)

// stripedBody reads a striped body. Sequential reads load window by window, and
// the next ones ahead; others touch only the units that they need.
type stripedBody struct {
	s   *Store
	rec *catalog.Record
	l   array.Layout

	ctx    context.Context // until Close
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // of the loads ahead
	unpin  func()         // its symbols may be collected

	mu   sync.Mutex
	ends [runs]int64 // where the last reads ended
	turn int
}

func (s *Store) newStripedBody(rec *catalog.Record) *stripedBody {
	b := &stripedBody{s: s, rec: rec, l: layoutOf(rec)}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	s.pins.add(rec)
	b.unpin = sync.OnceFunc(func() { s.pins.drop(rec.Body) })
	return b
}

// Bytes is the body, if it is short and in memory by chance.
func (b *stripedBody) Bytes() []byte {
	if b.l.Windows() > 1 {
		return nil
	}
	data, _ := b.s.windows.keep(windowKey{b.rec.Body, 0})
	return data
}

func (b *stripedBody) File() *os.File { return nil }

// Close ends reads and loads that still run.
func (b *stripedBody) Close() error {
	b.cancel(os.ErrClosed)
	b.wg.Wait()
	b.unpin()
	return nil
}

// sequential reports whether a read goes on where another ended, and notes
// where it ends.
func (b *stripedBody) sequential(off, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := -1
	if off > 0 {
		i = slices.Index(b.ends[:], off)
	}
	if i < 0 {
		i = b.turn
		b.turn = (b.turn + 1) % runs
		b.ends[i] = off + n
		return off == 0 && n >= wholeRead
	}
	b.ends[i] = off + n
	return true
}

func (b *stripedBody) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("store: read at offset %d: %w", off, os.ErrInvalid)
	}
	if off >= b.rec.Size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), b.rec.Size-off)
	sequential := b.sequential(off, want)
	size := b.l.WindowBlocks() * b.l.Block()
	n := 0
	for int64(n) < want {
		w := (off + int64(n)) / size
		from := off + int64(n) - w*size
		part := p[n:min(want, int64(n)+size-from)]
		if err := b.readWindow(part, w, from, sequential); err != nil {
			return n, fmt.Errorf("store: read %s at %d: %w", b.rec.Hex, off+int64(n), err)
		}
		if sequential && (off > 0 || n > 0) {
			b.ahead(w)
		}
		n += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readWindow fills p from a window on.
func (b *stripedBody) readWindow(p []byte, w, from int64, sequential bool) error {
	win := b.s.windows.peek(windowKey{b.rec.Body, w})
	if win == nil && !sequential && 2*int64(len(p)) < b.l.WindowBlocks()*b.l.Block() {
		return b.readSome(p, w*b.l.WindowBlocks()*b.l.Block()+from)
	}
	if win == nil {
		var err error
		if win, err = b.window(w); err != nil {
			return err
		}
	}
	defer b.s.windows.put(win)
	copy(p, win.data[from:])
	return nil
}

// window loads a window, or waits for who does. It goes back by windows.put.
func (b *stripedBody) window(w int64) (*window, error) {
	return b.s.windows.get(b.ctx, windowKey{b.rec.Body, w}, func() ([]byte, error) { return b.s.loadWindow(b.ctx, b.rec, b.l, w) })
}

// ahead loads the windows after w, in the background.
func (b *stripedBody) ahead(w int64) {
	for next := w + 1; next <= w+readAhead && next < b.l.Windows(); next++ {
		if !b.s.windows.worthwhile(windowKey{b.rec.Body, next}) {
			continue
		}
		b.wg.Go(func() {
			if win, err := b.window(next); err == nil { // else who needs it will see the fault
				b.s.windows.put(win)
			}
		})
	}
}

// loadWindow gathers and joins a window.
func (s *Store) loadWindow(ctx context.Context, rec *catalog.Record, l array.Layout, w int64) ([]byte, error) {
	first, end := l.Window(w)
	wanted := make([]bool, rec.N)
	for c := range l.K {
		wanted[c] = true
	}
	g, err := s.gather(ctx, rec, unitRange{l, rec.Body, int(first / l.PartBlocks()), first, end}, wanted)
	if err != nil {
		return nil, err
	}
	defer g.release()
	data := s.raw(min(end*l.Block(), l.Size) - first*l.Block())
	rest := data
	for i, units := range g.units {
		n := l.BlockLen(first + int64(i))
		for c := 0; c < l.K && n > 0; c++ {
			m := copy(rest[:min(n, len(units[c]))], units[c])
			rest, n = rest[m:], n-m
		}
	}
	return data, nil
}

// readSome fills p from the units that it touches, within one window.
func (b *stripedBody) readSome(p []byte, off int64) error {
	l := b.l
	first, last := off/l.Block(), (off+int64(len(p))-1)/l.Block()
	wanted := make([]bool, l.N)
	for block := first; block <= last; block++ {
		from, to := max(off-block*l.Block(), 0), min(off+int64(len(p))-block*l.Block(), int64(l.BlockLen(block)))
		unit := int64(l.UnitLen(block))
		for c := from / unit; c*unit < to; c++ {
			wanted[c] = true
		}
	}
	g, err := b.s.gather(b.ctx, b.rec, unitRange{l, b.rec.Body, int(first / l.PartBlocks()), first, last + 1}, wanted)
	if err != nil {
		return err
	}
	defer g.release()
	for len(p) > 0 {
		block := off / l.Block()
		in, unit := off-block*l.Block(), int64(l.UnitLen(block))
		c := in / unit
		n := copy(p, g.units[block-first][c][in-c*unit:min(unit, int64(l.BlockLen(block))-c*unit)])
		if n == 0 {
			return errors.New("store: a unit is empty")
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}
