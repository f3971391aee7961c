package linux

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// syn is a frame with a SYN of 24 bytes (one option) for to, checksummed.
func syn(to netip.AddrPort) []byte {
	tcp := make([]byte, 24)
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	tcp[12], tcp[13] = 6<<4, 2
	copy(tcp[20:], []byte{2, 4, 5, 180})
	var ip []byte
	etherType := uint16(etherIPv4)
	var pseudo uint32
	if to.Addr().Is4() {
		ip = make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, protoTCP
		binary.BigEndian.PutUint16(ip[2:], 44)
		copy(ip[12:], []byte{10, 77, 0, 100})
		copy(ip[16:], to.Addr().AsSlice())
		pseudo = add(0, ip[12:20])
	} else {
		etherType = etherIPv6
		ip = make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, protoTCP, 64
		binary.BigEndian.PutUint16(ip[4:], 24)
		ip[23] = 1
		copy(ip[24:], to.Addr().AsSlice())
		pseudo = add(0, ip[8:40])
	}
	s := add(pseudo+protoTCP+24, tcp)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(s))
	b := binary.BigEndian.AppendUint16([]byte{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}, etherType)
	return append(append(b, ip...), tcp...)
}

var (
	knock4 = netip.MustParseAddrPort("10.77.0.200:80")
	knock6 = netip.MustParseAddrPort("[2001:db8::c8]:80")
	ourMAC = [6]byte{3, 3, 3, 3, 3, 3}
	newMAC = [6]byte{4, 4, 4, 4, 4, 4}
)

func TestRedirect(t *testing.T) {
	for _, to := range []netip.AddrPort{knock4, knock6} {
		whole := syn(to)
		got, err := redirect(whole, to, ourMAC, newMAC, true)
		if err != nil || !bytes.Equal(got[:6], newMAC[:]) || !bytes.Equal(got[6:12], ourMAC[:]) || !bytes.Equal(got[12:], whole[12:]) {
			t.Errorf("%s: %x, %v", to, got, err)
		}
		// A checksum that the sender left out is worked out, padding is cut.
		raw := append(bytes.Clone(whole), 0, 0)
		raw[len(whole)-24+16] ^= 0x55
		if got, err = redirect(raw, to, ourMAC, newMAC, false); err != nil || !bytes.Equal(got[12:], whole[12:]) {
			t.Errorf("%s without checksum: %x, %v, want %x", to, got, err, whole)
		}
		for n := range whole {
			if got, err := redirect(whole[:n], to, ourMAC, newMAC, false); err == nil {
				t.Errorf("%s: %d bytes became %x", to, n, got)
			}
		}
		other := netip.AddrPortFrom(to.Addr(), 81)
		if _, err := redirect(whole, other, ourMAC, newMAC, true); err == nil {
			t.Error("a SYN for another port went along")
		}
		if _, err := redirect(whole, netip.AddrPortFrom(to.Addr().Next(), 80), ourMAC, newMAC, true); err == nil {
			t.Error("a SYN for another address went along")
		}
		whole[len(whole)-24+13] = 0x12
		if _, err := redirect(whole, to, ourMAC, newMAC, true); err == nil {
			t.Error("a SYN-ACK went along")
		}
	}
}

func FuzzRedirect(f *testing.F) {
	f.Add(syn(knock4), true)
	f.Add(syn(knock6), false)
	f.Fuzz(func(t *testing.T, b []byte, sum bool) {
		for _, to := range []netip.AddrPort{knock4, knock6} {
			before := bytes.Clone(b)
			got, err := redirect(b, to, ourMAC, newMAC, sum)
			if !bytes.Equal(b, before) {
				t.Fatal("the frame itself was changed")
			}
			if err != nil {
				continue
			}
			if len(got) > len(b) || !bytes.Equal(got[:6], newMAC[:]) || !bytes.Equal(got[6:12], ourMAC[:]) {
				t.Fatalf("%x became %x", b, got)
			}
			if again, err := redirect(got, to, ourMAC, newMAC, false); err != nil || len(again) != len(got) {
				t.Fatalf("%x is no SYN any more: %v", got, err)
			}
		}
	})
}
