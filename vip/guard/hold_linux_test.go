package guard

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

func holdBytes(a Address) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(a.Interface))
	s := a.Prefix.Addr().AsSlice()
	b = append(append(b, byte(a.Prefix.Bits()), byte(len(s))), s...)
	b = append(b, byte(len(a.Frames)))
	for _, f := range a.Frames {
		b = append(append(b, byte(len(f))), f...)
	}
	return b
}

func TestParseHold(t *testing.T) {
	for _, s := range []string{"10.0.0.100/24", "10.0.0.100/32", "2001:db8::1/128"} {
		a := Address{Interface: 7, Prefix: netip.MustParsePrefix(s), Frames: [][]byte{{1, 2}, bytes.Repeat([]byte{3}, MaxFrame)}}
		b := holdBytes(a)
		got, err := parseHold(b)
		if err != nil || got.Interface != 7 || got.Prefix != a.Prefix || len(got.Frames) != 2 || !bytes.Equal(got.Frames[1], a.Frames[1]) {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
		for n := range b {
			if got, err := parseHold(b[:n]); err == nil {
				t.Errorf("%d bytes of %s give %+v", n, s, got)
			}
		}
	}
}

func FuzzParseHold(f *testing.F) {
	f.Add(holdBytes(Address{Interface: 7, Prefix: netip.MustParsePrefix("10.0.0.100/24"), Frames: [][]byte{{1}, {}}}))
	f.Add(holdBytes(Address{Interface: 1, Prefix: netip.MustParsePrefix("2001:db8::1/128")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseHold(b)
		if err != nil {
			return
		}
		if !a.Prefix.IsValid() || len(a.Frames) > MaxFrames {
			t.Fatalf("%x gives %+v", b, a)
		}
		if got := holdBytes(a); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}
