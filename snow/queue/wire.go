package queue

import (
	"encoding/binary"
	"net/netip"

	"rain/ring"
)

const (
	idSize     = 20
	minRequest = 3 + 1 + 1 + 2 + 1 + 1 + 2 + 1 + 8
)

func appendU16(b []byte, n int) []byte       { return binary.BigEndian.AppendUint16(b, uint16(n)) }
func appendU32(b []byte, n uint32) []byte    { return binary.BigEndian.AppendUint32(b, n) }
func appendU64(b []byte, n uint64) []byte    { return binary.BigEndian.AppendUint64(b, n) }
func appendNumber(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }
func append8(b []byte, s string) []byte      { return append(append(b, byte(len(s))), s...) }
func append16(b []byte, s string) []byte     { return append(appendU16(b, len(s)), s...) }
func appendID(b []byte, id EntryID) []byte   { return appendU64(appendMember(b, id.Member), id.N) }
func appendSum(b []byte, s Sum) []byte       { return appendFlagged(b, !s.IsZero(), s) }
func appendMember(b []byte, m ring.Member) []byte {
	return appendU64(appendU32(b, uint32(m.ID)), uint64(m.Inc))
}

func appendFlagged(b []byte, on bool, s Sum) []byte {
	if !on {
		return append(b, 0)
	}
	return append(append(b, 1), s[:]...)
}

func appendRequest(b []byte, q *Request) []byte {
	s := q.Client.Addr().Unmap().AsSlice()
	b = appendU16(append(append(b, byte(len(s))), s...), int(q.Client.Port()))
	b = append8(append16(append8(append8(b, q.Method), q.Host), q.Path), q.Range)
	b = append8(append16(appendSum(b, q.Object), string(q.Head)), string(q.Conn))
	return appendU64(b, q.SinceMS)
}

// reader takes values off b; after a fault bad is set and all are zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() byte {
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

// number refuses forms that are longer than needed: equal values, equal bytes.
func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many values of at least size bytes follow.
func (r *reader) count(size int) int {
	n := int(r.u16())
	if n*size > len(r.b) {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) text8(limit int) string {
	n := int(r.u8())
	r.bad = r.bad || n > limit
	return string(r.take(n))
}

func (r *reader) text16(limit int) string { return string(r.bytes16(limit)) }

// bytes16 is nil if there are none.
func (r *reader) bytes16(limit int) []byte {
	n := int(r.u16())
	r.bad = r.bad || n > limit
	if n == 0 {
		return nil
	}
	return r.take(n)
}

func (r *reader) copySum(s *Sum) { copy(s[:], r.take(len(s))) }

func (r *reader) flagged() (on bool, s Sum) {
	switch r.u8() {
	case 0:
	case 1:
		on = true
		r.copySum(&s)
	default:
		r.bad = true
	}
	return on, s
}

func (r *reader) sum() Sum {
	on, s := r.flagged()
	r.bad = r.bad || on == s.IsZero()
	return s
}

func (r *reader) member() ring.Member {
	return ring.Member{ID: ring.NodeID(r.u32()), Inc: ring.Incarnation(r.u64())}
}

func (r *reader) id() EntryID { return EntryID{Member: r.member(), N: r.u64()} }

func (r *reader) request() (q Request) {
	a := r.take(int(r.u8()))
	port := r.u16()
	switch len(a) {
	case 0:
		r.bad = r.bad || port != 0
	case 4, 16:
		addr, _ := netip.AddrFromSlice(a)
		r.bad = r.bad || addr.Is4In6() // not as it would be written
		q.Client = netip.AddrPortFrom(addr, port)
	default:
		r.bad = true
	}
	q.Method, q.Host, q.Path, q.Range = r.text8(MaxMethod), r.text8(MaxHost), r.text16(MaxPath), r.text8(MaxRange)
	q.Object, q.Head = r.sum(), r.bytes16(MaxHead)
	if n := int(r.u8()); n > MaxConn {
		r.bad = true
	} else if n > 0 {
		q.Conn = r.take(n)
	}
	q.SinceMS = r.u64()
	return q
}
