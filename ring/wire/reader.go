// Package wire takes big-endian fields off the front of bytes that somebody else
// made: ops, messages and snapshots. Each core's own reader is built upon it.
//
// Guarantees: nothing here panics, allocates or keeps more than a reference to
// the bytes it was given. After the first fault a Reader stays bad, and all that
// it returns is zero: a parser may ask once, at its end.
package wire

import "encoding/binary"

// Reader takes fields off the front of B.
type Reader struct {
	B   []byte // what is left
	Bad bool   // a field was missing, or a parser found fault with one
}

// Take is the next n bytes, a part of B; nil if there are not so many.
func (r *Reader) Take(n int) []byte {
	if r.Bad || n < 0 || n > len(r.B) {
		r.Bad, r.B = true, nil
		return nil
	}
	p := r.B[:n:n]
	r.B = r.B[n:]
	return p
}

func (r *Reader) U8() uint8 {
	if p := r.Take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *Reader) U16() uint16 {
	if p := r.Take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *Reader) U32() uint32 {
	if p := r.Take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *Reader) U64() uint64 {
	if p := r.Take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// Flag is a byte that is 0 or 1.
func (r *Reader) Flag() bool {
	v := r.U8()
	r.Bad = r.Bad || v > 1
	return v == 1
}

// Done reports whether all was read, and no fault was found.
func (r *Reader) Done() bool { return !r.Bad && len(r.B) == 0 }
