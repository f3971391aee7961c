package queue

import (
	"encoding/binary"
	"net/netip"

	"rain/ring"
	"rain/ring/wire"
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
	wire.Reader
}

// number refuses forms that are longer than needed: equal values, equal bytes.
func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.B)
	if r.Bad || n <= 0 || n > 1 && r.B[n-1] == 0 {
		r.Bad = true
		return 0
	}
	r.B = r.B[n:]
	return v
}

// count reads how many values of at least size bytes follow.
func (r *reader) count(size int) int {
	n := int(r.U16())
	if n*size > len(r.B) {
		r.Bad = true
	}
	if r.Bad {
		return 0
	}
	return n
}

func (r *reader) text8(limit int) string {
	n := int(r.U8())
	r.Bad = r.Bad || n > limit
	return string(r.Take(n))
}

func (r *reader) text16(limit int) string { return string(r.bytes16(limit)) }

// bytes16 is nil if there are none.
func (r *reader) bytes16(limit int) []byte {
	n := int(r.U16())
	r.Bad = r.Bad || n > limit
	if n == 0 {
		return nil
	}
	return r.Take(n)
}

func (r *reader) copySum(s *Sum) { copy(s[:], r.Take(len(s))) }

func (r *reader) flagged() (on bool, s Sum) {
	switch r.U8() {
	case 0:
	case 1:
		on = true
		r.copySum(&s)
	default:
		r.Bad = true
	}
	return on, s
}

func (r *reader) sum() Sum {
	on, s := r.flagged()
	r.Bad = r.Bad || on == s.IsZero()
	return s
}

func (r *reader) member() ring.Member {
	return ring.Member{ID: ring.NodeID(r.U32()), Inc: ring.Incarnation(r.U64())}
}

func (r *reader) id() EntryID { return EntryID{Member: r.member(), N: r.U64()} }

func (r *reader) request() (q Request) {
	a := r.Take(int(r.U8()))
	port := r.U16()
	switch len(a) {
	case 0:
		r.Bad = r.Bad || port != 0
	case 4, 16:
		addr, _ := netip.AddrFromSlice(a)
		r.Bad = r.Bad || addr.Is4In6() // not as it would be written
		q.Client = netip.AddrPortFrom(addr, port)
	default:
		r.Bad = true
	}
	q.Method, q.Host, q.Path, q.Range = r.text8(MaxMethod), r.text8(MaxHost), r.text16(MaxPath), r.text8(MaxRange)
	q.Object, q.Head = r.sum(), r.bytes16(MaxHead)
	if n := int(r.U8()); n > MaxConn {
		r.Bad = true
	} else if n > 0 {
		q.Conn = r.Take(n)
	}
	q.SinceMS = r.U64()
	return q
}
