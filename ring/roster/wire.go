package roster

import (
	"encoding/binary"
	"net/netip"
	"unicode/utf8"

	"rain/ring/wire"
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
	wire.Reader
}

func (r *reader) text(limit int) string {
	n := int(r.U8())
	p := r.Take(n)
	if n > limit || !utf8.Valid(p) {
		r.Bad = true
		return ""
	}
	return string(p)
}

func (r *reader) place() (name string, links []netip.AddrPort, admin string) {
	name = r.text(MaxName)
	n := int(r.U8())
	if n > MaxLinks {
		r.Bad = true
		return
	}
	for range n {
		size := int(r.U8())
		if size != 4 && size != 16 {
			r.Bad = true
			return
		}
		a, ok := netip.AddrFromSlice(r.Take(size))
		if !ok || a.Is4In6() { // an IPv4 address in IPv6's clothes would be a second name
			r.Bad = true
			return
		}
		links = append(links, netip.AddrPortFrom(a, r.U16()))
	}
	return name, links, r.text(MaxURL)
}
