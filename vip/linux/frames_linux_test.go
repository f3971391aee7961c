package linux

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
)

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The frames byte by byte: RFC 826, RFC 5227 section 3, RFC 4861 section 4.4.
func TestAnnouncements(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	got, err := announcements(netip.MustParseAddr("10.77.0.200"), mac)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d frames, %v", len(got), err)
	}
	head := "ffffffffffff" + "020000000009" + "0806" + "0001" + "0800" + "06" + "04"
	for i, want := range []string{
		head + "0001" + "020000000009" + "0a4d00c8" + "000000000000" + "0a4d00c8",
		head + "0002" + "020000000009" + "0a4d00c8" + "020000000009" + "0a4d00c8",
	} {
		// Ethernet frames may be padded to 60 bytes.
		if w := mustHex(t, want); !bytes.HasPrefix(got[i], w) || bytes.Trim(got[i][len(w):], "\x00") != nil {
			t.Errorf("frame %d is %x, want %x", i, got[i], w)
		}
	}
	addr := netip.MustParseAddr("2001:db8::c8")
	got, err = announcements(addr, mac)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d frames, %v", len(got), err)
	}
	b := got[0]
	want := "333300000001" + "020000000009" + "86dd" + "60000000" + "0020" + "3a" + "ff" +
		"20010db80000000000000000000000c8" + "ff020000000000000000000000000001" + "88" + "00"
	if w := mustHex(t, want); !bytes.HasPrefix(b, w) {
		t.Errorf("advertisement is %x, want it to begin with %x", b, w)
	}
	if rest := mustHex(t, "20000000"+"20010db80000000000000000000000c8"+"0201"+"020000000009"); !bytes.HasSuffix(b, rest) {
		t.Errorf("advertisement is %x, want override flag, target and hardware address %x at its end", b, rest)
	}
	// With its own checksum in it the sum is all ones.
	icmp := b[14+40:]
	s := add(add(58+uint32(len(icmp)), b[14+8:14+40]), icmp)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	if s != 0xffff {
		t.Errorf("checksum of the advertisement: sum %#x", s)
	}
}

func TestClaimant(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	for _, s := range []string{"10.77.0.200", "2001:db8::c8"} {
		addr := netip.MustParseAddr(s)
		frames, err := announcements(addr, mac)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range frames {
			got, who, ok := claimant(f)
			if !ok || got != addr || !bytes.Equal(who, mac) {
				t.Errorf("frame %d of %s: claims %s by %s, %v", i, addr, got, who, ok)
			}
			for n := range min(len(f), 42) {
				if a, _, ok := claimant(f[:n]); ok {
					t.Errorf("%d bytes of frame %d claim %s", n, i, a)
				}
			}
		}
	}
	probe := mustHex(t, "ffffffffffff"+"020000000009"+"0806"+"00010800060400"+"01"+"020000000009"+"00000000"+"000000000000"+"0a4d00c8")
	if a, _, ok := claimant(probe); ok {
		t.Errorf("a probe claims %s", a)
	}
}

func FuzzClaimant(f *testing.F) {
	for _, s := range []string{"10.77.0.200", "2001:db8::c8"} {
		frames, err := announcements(netip.MustParseAddr(s), net.HardwareAddr{2, 0, 0, 0, 0, 9})
		if err != nil {
			f.Fatal(err)
		}
		for _, b := range frames {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, mac, ok := claimant(b)
		if !ok {
			return
		}
		if !addr.IsValid() || len(mac) != 6 {
			t.Fatalf("%x claims %s by %s", b, addr, mac)
		}
		if raw := addr.AsSlice(); !bytes.Contains(b, raw) || !bytes.Contains(b, mac) {
			t.Fatalf("%x claims %s by %s, which are not in it", b, addr, mac)
		}
	})
}
