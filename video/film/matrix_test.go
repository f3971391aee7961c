package film

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// A film that a phone took upright stays upright in its segments.
func TestTurned(t *testing.T) {
	b := demo(t)
	m, x := open(t, b)
	straight, err := m.Init()
	if err != nil || m.Video.turn != unit {
		t.Fatalf("%v, %x", err, m.Video.turn)
	}
	trak, ok := inside(b, 0, int64(len(b)), "moov", "trak")
	if !ok {
		t.Fatal("no trak")
	}
	at := trak.start + matrixAt(b[trak.start:trak.end])
	var quarter matrix
	for i, v := range []uint32{0, 1 << 16, 0, 0xffff0000, 0, 0, 480 << 16, 0, 1 << 30} {
		binary.BigEndian.PutUint32(quarter[4*i:], v)
	}
	copy(b[at:], quarter[:])
	m, y := open(t, b)
	turned, err := m.Init()
	if err != nil || m.Video.turn != quarter {
		t.Fatalf("%v, %x", err, m.Video.turn)
	}
	if y.Video.Width != x.Video.Height || y.Video.Height != x.Video.Width {
		t.Errorf("%d x %d, turned %d x %d", x.Video.Width, x.Video.Height, y.Video.Width, y.Video.Height)
	}
	back := bytes.Clone(turned)
	unit.turn(back)
	if bytes.Equal(turned, straight) || !bytes.Equal(back, straight) || !bytes.Contains(turned, quarter[:]) {
		t.Error("the init segments differ in more than the matrix, or not at all")
	}
}

func TestMatrixOfNothing(t *testing.T) {
	for _, trak := range []string{"", "\x00\x00\x00\x08trak", "\x00\x00\x00\x10trak\x00\x00\x00\x08tkhd", "\x00\x00\x00\x11trak\x00\x00\x00\x09tkhd\x01", "\x00\x00\x00\x10trak\xff\x00\x00\x08tkhd"} {
		if m := matrixOf([]byte(trak)); m != unit {
			t.Errorf("%q: %x", trak, m)
		}
	}
	unit.turn([]byte("no boxes")) // and does not panic
}
