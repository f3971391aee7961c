package ring

import (
	"encoding/binary"
	"slices"

	"rain/ring/wire"
)

// The parts of which messages are made; see wire.go for the format.

type writer struct {
	b       []byte
	version int // of the message; what has no version of its own is the same in all
}

func (w *writer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *writer) u16(v uint16) { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) bool(v bool) {
	if v {
		w.u8(1)
	} else {
		w.u8(0)
	}
}
func (w *writer) bytes(b []byte)  { w.u32(uint32(len(b))); w.b = append(w.b, b...) }
func (w *writer) member(m Member) { w.u32(uint32(m.ID)); w.u64(uint64(m.Inc)) }
func (w *writer) stamp(s Stamp)   { w.u64(uint64(s.Epoch)); w.u64(s.Seq) }
func (w *writer) members(l []Member) {
	w.u16(uint16(len(l)))
	for _, m := range l {
		w.member(m)
	}
}

func (w *writer) view(v View) {
	w.u64(v.Number)
	w.u16(uint16(len(v.Members)))
	for _, m := range v.Members {
		w.member(m.Member)
		w.u64(m.Since)
	}
}

func (w *writer) entry(e Entry) {
	w.member(e.From)
	w.u64(e.N)
	w.u8(uint8(e.Rider))
	w.bytes(e.Data)
}

type reader struct {
	wire.Reader
	version int
}

func (r *reader) bytes(limit int) []byte {
	n := r.U32()
	if n > uint32(limit) {
		r.Bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	return append([]byte(nil), r.Take(int(n))...)
}

func (r *reader) member() Member { return Member{NodeID(r.U32()), Incarnation(r.U64())} }
func (r *reader) stamp() Stamp   { return Stamp{Epoch(r.U64()), r.U64()} }

// count reads a list's length and refuses one that its bytes cannot hold.
func (r *reader) count(limit, itemSize int) int {
	n := int(r.U16())
	if n > limit || n*itemSize > len(r.B) {
		r.Bad = true
		return 0
	}
	return n
}

func (r *reader) members() (out []Member) {
	n := r.count(MaxMembers, 12)
	out = slices.Grow(out, n)
	for range n {
		out = append(out, r.member())
	}
	return out
}

func (r *reader) view() View {
	v := View{Number: r.U64()}
	n := r.count(MaxMembers, 20)
	v.Members = slices.Grow(v.Members, n)
	for i := range n {
		m := ViewMember{Member: r.member(), Since: r.U64()}
		if i > 0 && m.ID <= v.Members[i-1].ID {
			r.Bad = true
			return v
		}
		v.Members = append(v.Members, m)
	}
	return v
}

func (r *reader) entry() Entry {
	return Entry{From: r.member(), N: r.U64(), Rider: RiderID(r.U8()), Data: r.bytes(MaxOp)}
}
