package symbol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"rain/store/array"
)

func sample() Info {
	return Info{Body: [32]byte{1}, Sum: [32]byte{2}, Size: 1000, Code: array.Geometry{N: 4, K: 2, Unit: 64}, Column: 3}
}

func FuzzParse(f *testing.F) {
	good := sample().Append(nil)
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == TrailerLen { // let the fuzzer pass the checksum
			fixed := bytes.Clone(b)
			binary.BigEndian.PutUint32(fixed[TrailerLen-SumLen:], checksum(fixed[:TrailerLen-SumLen]))
			check(t, fixed)
		}
		check(t, b)
	})
}

func check(t *testing.T, b []byte) {
	t.Helper()
	i, err := Parse(b)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	if got := i.Append(nil); !bytes.Equal(got, b) {
		t.Fatalf("accepted %x, writes it back as %x", b, got)
	}
	if i.Part >= i.Layout().Parts() || FileLen(i.Layout(), i.Part) <= int64(TrailerLen) {
		t.Fatalf("accepted part %d of %d", i.Part, i.Layout().Parts())
	}
}

// file writes column 3 of the sample as a node does.
func file(t *testing.T, i Info) (b []byte, units [][]byte) {
	t.Helper()
	l := i.Layout()
	r := rand.NewChaCha8([32]byte{9})
	for block := range l.Blocks() {
		u := make([]byte, l.UnitLen(block))
		_, _ = r.Read(u)
		units = append(units, u)
		b = append(b, u...)
		b = binary.BigEndian.AppendUint32(b, Checksum(u, i.Column, block))
	}
	return i.Append(b), units
}

func TestFile(t *testing.T) {
	i := sample()
	l := i.Layout()
	b, want := file(t, i)
	if int64(len(b)) != FileLen(l, 0) {
		t.Fatalf("%d bytes, FileLen says %d", len(b), FileLen(l, 0))
	}
	got, err := ReadInfo(bytes.NewReader(b), int64(len(b)))
	if err != nil || got != i {
		t.Fatalf("trailer %+v, %v; want %+v", got, err, i)
	}
	for first := range l.Blocks() {
		for end := first + 1; end <= l.Blocks(); end++ {
			units := make([][]byte, end-first)
			off := Offset(l, first)
			if good := Units(units, b[off:off+RangeLen(l, first, end)], l, i.Column, first); good != len(units) {
				t.Fatalf("[%d,%d): %d good", first, end, good)
			}
			for j, u := range units {
				if !bytes.Equal(u, want[first+int64(j)]) {
					t.Fatalf("[%d,%d): unit %d differs", first, end, j)
				}
			}
		}
	}
}

// TestEveryBitCounts: no flipped bit is served, and it costs one unit only.
func TestEveryBitCounts(t *testing.T) {
	i := sample()
	l := i.Layout()
	b, _ := file(t, i)
	all := make([][]byte, l.Blocks())
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		good := Units(all, b[:len(b)-TrailerLen], l, i.Column, 0)
		_, err := ReadInfo(bytes.NewReader(b), int64(len(b)))
		if inTrailer := bit/8 >= len(b)-TrailerLen; inTrailer != (err != nil) || inTrailer != (good == len(all)) || good < len(all)-1 {
			t.Fatalf("bit %d: %d of %d units good, trailer: %v", bit, good, len(all), err)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	for cut := range len(b) {
		if _, err := ReadInfo(bytes.NewReader(b[:cut]), int64(cut)); err == nil {
			t.Fatalf("cut at %d of %d, the trailer is accepted", cut, len(b))
		}
	}
	if good := Units(all, b[:len(b)-TrailerLen], l, 2, 0); good != 0 {
		t.Errorf("%d units pass as another column's", good)
	}
	if good := Units(all[:3], b[Offset(l, 1):], l, i.Column, 2); good != 0 {
		t.Errorf("%d units pass in another block's place", good)
	}
}
