package film

import (
	"bytes"
	"encoding/binary"
)

// matrix is how the picture is turned when it is shown, as a tkhd has it: nine
// numbers, row by row (ISO/IEC 14496-12 section 8.3.2). Phones film that way.
// The library writes none but the unit matrix, so it is carried by hand.
type matrix [36]byte

var unit = matrix{1: 1, 17: 1, 32: 0x40}

// matrixOf reads it out of a trak; what is not there or malformed turns nothing.
func matrixOf(trak []byte) matrix {
	m := unit
	if at := matrixAt(trak); at >= 0 {
		copy(m[:], trak[at:])
	}
	return m
}

// matrixAt is where in a trak its tkhd has the matrix; -1: nowhere.
func matrixAt(trak []byte) int64 {
	tkhd, ok := inside(trak, 0, int64(len(trak)), "trak", "tkhd")
	if !ok || tkhd.end == tkhd.body {
		return -1
	}
	at := tkhd.body + 40
	if trak[tkhd.body] == 1 { // longer times
		at += 12
	}
	if at+int64(len(matrix{})) > tkhd.end {
		return -1
	}
	return at
}

// inside goes from box to box by their names, always the first of the name.
func inside(b []byte, off, end int64, path ...string) (at box, ok bool) {
	for _, name := range path {
		all, err := children(bytes.NewReader(b), off, end)
		if err != nil {
			return at, false
		}
		ok = false
		for _, c := range all {
			if c.name == name {
				at, off, end, ok = c, c.body, c.end, true
				break
			}
		}
		if !ok {
			return at, false
		}
	}
	return at, true
}

// quarter reports whether width and height change places.
func (m matrix) quarter() bool {
	at := func(i int) uint32 { return binary.BigEndian.Uint32(m[4*i:]) }
	return at(0) == 0 && at(4) == 0 && at(1) != 0 && at(3) != 0
}

// turn puts the matrix into the first track of an init segment.
func (m matrix) turn(init []byte) {
	if trak, ok := inside(init, 0, int64(len(init)), "moov", "trak"); ok {
		if at := matrixAt(init[trak.start:trak.end]); at >= 0 {
			copy(init[trak.start+at:], m[:])
		}
	}
}
