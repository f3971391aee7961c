package store

import (
	"unsafe"

	"rain/store/array"
	"rain/store/symbol"
)

const (
	// wideBytes is how much of a column is written at once. A column that is
	// longer goes past the page cache: copying it there, and writing it back at
	// the sync, was a fifth of what a put cost, and it pushes out what is read.
	wideBytes = 1 << 20
	// wideAlign is what the memory, the place in the file and the length of a
	// write past the page cache must be multiples of.
	wideAlign = 4096
)

// wide gathers what is written to files, one after the other.
type wide struct {
	buf    []byte // begins at a multiple of wideAlign
	n      int    // bytes gathered
	long   bool   // some of this file has been written
	direct bool   // writes to this file go past the page cache
	plain  bool   // the file system takes no such writes
}

// newWide has room for units of the code.
func newWide(g array.Geometry) *wide {
	size := wideLen(g)
	mem := make([]byte, size+wideAlign)
	from := -int(uintptr(unsafe.Pointer(&mem[0]))) & (wideAlign - 1)
	return &wide{buf: mem[from:][:size:size]}
}

func wideLen(g array.Geometry) int { return wideBytes + g.Unit + symbol.SumLen }

// takeWide returns an empty one.
func (s *Store) takeWide(g array.Geometry) *wide {
	if w, _ := s.wides.Get().(*wide); w != nil && len(w.buf) == wideLen(g) {
		*w = wide{buf: w.buf}
		return w
	}
	return newWide(g)
}

// room is where the next n bytes go; take says that they are there.
func (w *wide) room(n int) []byte { return w.buf[w.n:][:n] }

func (w *wide) take(f file, n int) error {
	if w.n += n; w.n < wideBytes {
		return nil
	}
	w.long = true
	if err := w.past(f, wideBytes); err != nil {
		return err
	}
	w.n = copy(w.buf, w.buf[wideBytes:w.n])
	return nil
}

// settle writes what is left of a file, of any length. After it, writes to the
// file go through the page cache.
func (w *wide) settle(f file) error {
	done := 0
	if w.long {
		done = w.n &^ (wideAlign - 1)
		if err := w.past(f, done); err != nil {
			return err
		}
	}
	if err := w.through(f); err != nil {
		return err
	}
	_, err := f.Write(w.buf[done:w.n])
	w.n, w.long = 0, false
	return err
}

// past writes the first n bytes, a multiple of wideAlign, past the page cache if
// that can be done.
func (w *wide) past(f file, n int) error {
	if !w.plain && !w.direct {
		w.direct = f.direct(true) == nil
		w.plain = !w.direct
	}
	done, err := f.Write(w.buf[:n])
	if err == nil || !w.direct {
		return err
	}
	// Some file systems say only now that they take no such writes. Another
	// fault comes again.
	w.plain = true
	if err := w.through(f); err != nil {
		return err
	}
	_, err = f.Write(w.buf[done:n])
	return err
}

// through makes writes go through the page cache again.
func (w *wide) through(f file) error {
	if !w.direct {
		return nil
	}
	w.direct = false
	return f.direct(false)
}
