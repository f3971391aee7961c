package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"

	"rain/ring"
	"rain/ring/wire"
)

// Op wire format, version 1, big-endian:
//
//	op       version u8 | kind u8 | body
//	addr     length u8 (4 or 16) | bytes
//	prefix   addr | bits u8
//	text     length u8 (at most MaxText) | UTF-8
//	member   id u32 | incarnation u64
//
//	SetPools count u8 | (name text | interface text | count u16 | prefixes)
//	Own      addr | at u64 | cause text
//	Free     addr | ref u64 | at u64 | cause text
//	Give     addr | ref u64 | to member | at u64 | cause text
//	Prepare  addr | ref u64 | to member
//	Ready    addr | ref u64
//	Cancel   addr | ref u64
//	Served   addr | ref u64 | gap u32
//	Pin      addr | node u32
//	Draining member | on u8
//
// ref is the Entry.OwnIndex that the op is about (Ready: NextIndex), so that a
// late op never hits a newer ownership. at is wall clock ms, gap ms.
const opVersion = 1

// Kind names an op.
type Kind uint8

// The ops.
const (
	SetPools Kind = 1 // replaces the set of addresses
	Own      Kind = 2 // by whoever wants it; valid iff the address is an orphan
	Free     Kind = 3 // by its owner, which has stopped acting
	Give     Kind = 4 // by its owner, which has stopped acting: Free and Own by To in one
	Prepare  Kind = 5 // by its owner: To shall get ready to listen
	Ready    Kind = 6 // by To: it listens and accepts nothing yet
	Cancel   Kind = 7 // by its owner: no hand-over after all
	Served   Kind = 8 // by its owner: it answers since Gap after the last one did
	Pin      Kind = 9 // the address belongs to Node where that is possible; 0: anywhere
	Draining Kind = 10
)

// Op is a change to the table; which fields count says the wire format.
type Op struct {
	Kind  Kind
	Pools []Pool
	Addr  netip.Addr
	Ref   uint64
	To    ring.Member
	Node  ring.NodeID
	On    bool
	AtMS  uint64
	GapMS uint32
	Cause string
}

// ErrMalformed says that bytes are no op of this version.
var ErrMalformed = errors.New("vip table: malformed op")

// Append writes op's bytes. Texts that are too long are cut.
func (op Op) Append(b []byte) []byte {
	b = append(b, opVersion, byte(op.Kind))
	switch op.Kind {
	case SetPools:
		return appendPools(b, op.Pools)
	case Draining:
		return append(appendMember(b, op.To), flag(op.On))
	}
	b = appendAddr(b, op.Addr)
	switch op.Kind {
	case Pin:
		return binary.BigEndian.AppendUint32(b, uint32(op.Node))
	case Own:
	default:
		b = binary.BigEndian.AppendUint64(b, op.Ref)
	}
	switch op.Kind {
	case Give, Prepare:
		b = appendMember(b, op.To)
	case Served:
		b = binary.BigEndian.AppendUint32(b, op.GapMS)
	}
	switch op.Kind {
	case Own, Free, Give:
		b = binary.BigEndian.AppendUint64(b, op.AtMS)
		b = appendText(b, op.Cause)
	}
	return b
}

// ParseOp reads one op. It keeps nothing of b.
func ParseOp(b []byte) (Op, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	if v := r.U8(); v != opVersion {
		return Op{}, fmt.Errorf("%w: version %d, this program speaks %d", ErrMalformed, v, opVersion)
	}
	op := Op{Kind: Kind(r.U8())}
	switch op.Kind {
	case SetPools:
		op.Pools = r.pools()
	case Draining:
		op.To, op.On = r.member(), r.Flag()
	case Pin:
		op.Addr, op.Node = r.addr(), ring.NodeID(r.U32())
	case Own:
		op.Addr, op.AtMS, op.Cause = r.addr(), r.U64(), r.text()
	case Free:
		op.Addr, op.Ref, op.AtMS, op.Cause = r.addr(), r.U64(), r.U64(), r.text()
	case Give:
		op.Addr, op.Ref, op.To, op.AtMS, op.Cause = r.addr(), r.U64(), r.member(), r.U64(), r.text()
	case Prepare:
		op.Addr, op.Ref, op.To = r.addr(), r.U64(), r.member()
	case Ready, Cancel:
		op.Addr, op.Ref = r.addr(), r.U64()
	case Served:
		op.Addr, op.Ref, op.GapMS = r.addr(), r.U64(), r.U32()
	default:
		r.Bad = true
	}
	if !r.Done() {
		return Op{}, fmt.Errorf("%w: kind %d, %d bytes", ErrMalformed, op.Kind, len(b))
	}
	return op, nil
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendMember(b []byte, m ring.Member) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(m.ID))
	return binary.BigEndian.AppendUint64(b, uint64(m.Inc))
}

func appendAddr(b []byte, a netip.Addr) []byte {
	s := a.Unmap().AsSlice()
	return append(append(b, byte(len(s))), s...)
}

func appendPrefix(b []byte, p netip.Prefix) []byte {
	return append(appendAddr(b, p.Addr()), byte(p.Bits()))
}

// appendText cuts at a rune's border, so that what is written parses.
func appendText(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = "?"
	}
	for len(s) > MaxText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return append(append(b, byte(len(s))), s...)
}

func appendPools(b []byte, pools []Pool) []byte {
	b = append(b, byte(len(pools)))
	for _, p := range pools {
		b = appendText(appendText(b, p.Name), p.Interface)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Addresses)))
		for _, a := range p.Addresses {
			b = appendPrefix(b, a)
		}
	}
	return b
}

// reader takes bytes apart; after the first fault it is bad and returns zeros.
type reader struct {
	wire.Reader
}

func (r *reader) member() ring.Member {
	return ring.Member{ID: ring.NodeID(r.U32()), Inc: ring.Incarnation(r.U64())}
}

// addr refuses an IPv4 address in IPv6's clothes: it would be a second name.
func (r *reader) addr() netip.Addr {
	n := int(r.U8())
	if n != 4 && n != 16 {
		r.Bad = true
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(r.Take(n))
	if !ok || a.Is4In6() {
		r.Bad = true
	}
	return a
}

func (r *reader) prefix() netip.Prefix {
	a, bits := r.addr(), int(r.U8())
	if r.Bad || bits > a.BitLen() {
		r.Bad = true
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, bits)
}

func (r *reader) text() string {
	n := int(r.U8())
	if n > MaxText {
		r.Bad = true
	}
	p := r.Take(n)
	if !utf8.Valid(p) {
		r.Bad = true
	}
	return string(p)
}

func (r *reader) pools() []Pool {
	n, total := int(r.U8()), 0
	if n > MaxPools {
		r.Bad = true
	}
	var pools []Pool
	for i := 0; i < n && !r.Bad; i++ {
		p := Pool{Name: r.text(), Interface: r.text()}
		count := int(r.U16())
		if total += count; total > MaxAddresses {
			r.Bad = true
		}
		for k := 0; k < count && !r.Bad; k++ {
			p.Addresses = append(p.Addresses, r.prefix())
		}
		pools = append(pools, p)
	}
	return pools
}
