package roster

import (
	"encoding/binary"
	"net/netip"
	"unicode/utf8"
)

type writer struct{ b []byte }

func (w *writer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }

func (w *writer) bytes(parts ...[]byte) {
	for _, p := range parts {
		w.b = append(w.b, p...)
	}
}

// text cuts at a rune's border, so that what is written parses.
func (w *writer) text(s string, limit int) {
	if !utf8.ValidString(s) {
		s = "?"
	}
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	w.b = append(append(w.b, byte(len(s))), s...)
}

func (w *writer) place(name string, links []netip.AddrPort, admin string) {
	w.text(name, MaxName)
	links = links[:min(len(links), MaxLinks)]
	w.b = append(w.b, byte(len(links)))
	for _, l := range links {
		a := l.Addr().Unmap().AsSlice()
		w.b = append(append(w.b, byte(len(a))), a...)
		w.b = binary.BigEndian.AppendUint16(w.b, l.Port())
	}
	w.text(admin, MaxURL)
}

// reader takes bytes apart; after the first fault it is bad and returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) text(limit int) string {
	n := int(r.u8())
	p := r.take(n)
	if n > limit || !utf8.Valid(p) {
		r.bad = true
		return ""
	}
	return string(p)
}

func (r *reader) place() (name string, links []netip.AddrPort, admin string) {
	name = r.text(MaxName)
	n := int(r.u8())
	if n > MaxLinks {
		r.bad = true
		return
	}
	for range n {
		size := int(r.u8())
		if size != 4 && size != 16 {
			r.bad = true
			return
		}
		a, ok := netip.AddrFromSlice(r.take(size))
		if !ok || a.Is4In6() { // an IPv4 address in IPv6's clothes would be a second name
			r.bad = true
			return
		}
		links = append(links, netip.AddrPortFrom(a, r.u16()))
	}
	return name, links, r.text(MaxURL)
}
