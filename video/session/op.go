package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"

	"rain/ring"
	"rain/ring/wire"
)

// Batch wire format, version 1, big-endian:
//
//	batch  version u8 | number u64 | at u64 | count u16 (at most MaxItems) | items
//	item   kind u8 | id 10 bytes | body
//	body   Begin   film text | rendition text | client addr | report
//	       Report  report
//	       Claim   ref u64 | report
//	       End     ref u64
//	report seeks u32 | position u32 (ms) | bytes u32
//	text   length u8 | UTF-8
//	addr   length u8 (4 or 16; 0: not known) | bytes
//
// ref is the Entry.OwnIndex that a claim replaces, the Entry.Index up to which an
// end has seen nothing happen. at is wall clock ms. bytes is what was sent since
// the node's last batch.
const opVersion = 1

// Kind says what an item is.
type Kind uint8

// The kinds.
const (
	Begin  Kind = 1 // the first report of a session; one that exists is reported on
	Report Kind = 2
	Claim  Kind = 3 // a report of a node that wants to be the owner from now on
	End    Kind = 4 // by the owner
)

// Item is what a node tells of one session; which fields count says the wire
// format.
type Item struct {
	Kind      Kind
	ID        ID
	Film      string
	Rendition string
	Client    netip.Addr
	Ref       uint64
	Seeks     uint32
	Position  uint32 // ms
	Bytes     uint32
}

// Batch is all that a node tells at once. Number rises from batch to batch of
// one node.
type Batch struct {
	Number uint64
	At     uint64 // wall clock, ms
	Items  []Item
}

// ErrMalformed says that bytes are no batch of this version.
var ErrMalformed = errors.New("video session: malformed op")

// Append writes a batch's bytes. Items above MaxItems are a bug of the caller.
func (b Batch) Append(out []byte) []byte {
	if len(b.Items) > MaxItems {
		panic(fmt.Sprintf("video session: a batch of %d items", len(b.Items)))
	}
	out = append(out, opVersion)
	out = binary.BigEndian.AppendUint64(out, b.Number)
	out = binary.BigEndian.AppendUint64(out, b.At)
	out = binary.BigEndian.AppendUint16(out, uint16(len(b.Items)))
	for i := range b.Items {
		out = b.Items[i].append(out)
	}
	return out
}

func (it *Item) append(b []byte) []byte {
	b = append(append(b, byte(it.Kind)), it.ID[:]...)
	switch it.Kind {
	case Begin:
		b = appendAddr(appendText(appendText(b, it.Film), it.Rendition), it.Client)
	case Claim:
		b = binary.BigEndian.AppendUint64(b, it.Ref)
	case End:
		return binary.BigEndian.AppendUint64(b, it.Ref)
	}
	b = binary.BigEndian.AppendUint32(b, it.Seeks)
	b = binary.BigEndian.AppendUint32(b, it.Position)
	return binary.BigEndian.AppendUint32(b, it.Bytes)
}

// ParseBatch reads one batch. It keeps nothing of b.
func ParseBatch(b []byte) (Batch, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	if v := r.U8(); v != opVersion {
		return Batch{}, fmt.Errorf("%w: version %d, this program speaks %d", ErrMalformed, v, opVersion)
	}
	out := Batch{Number: r.U64(), At: r.U64()}
	n := int(r.U16())
	if n > MaxItems {
		r.Bad = true
	}
	for i := 0; i < n && !r.Bad; i++ {
		out.Items = append(out.Items, r.item())
	}
	if !r.Done() {
		return Batch{}, fmt.Errorf("%w: %d items, %d bytes", ErrMalformed, n, len(b))
	}
	return out, nil
}

func (r *reader) item() Item {
	it := Item{Kind: Kind(r.U8()), ID: r.id()}
	switch it.Kind {
	case Begin:
		it.Film, it.Rendition, it.Client = r.text(MaxFilm), r.text(MaxRendition), r.addr()
	case Claim:
		it.Ref = r.U64()
	case Report:
	case End:
		it.Ref = r.U64()
		return it
	default:
		r.Bad = true
	}
	it.Seeks, it.Position, it.Bytes = r.U32(), r.U32(), r.U32()
	return it
}

func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func appendAddr(b []byte, a netip.Addr) []byte {
	s := a.Unmap().WithZone("").AsSlice()
	return append(append(b, byte(len(s))), s...)
}

// reader takes bytes apart; after the first fault it is bad and returns zeros.
type reader struct {
	wire.Reader
}

func (r *reader) id() (id ID) {
	copy(id[:], r.Take(len(id)))
	return id
}

func (r *reader) member() ring.Member {
	return ring.Member{ID: ring.NodeID(r.U32()), Inc: ring.Incarnation(r.U64())}
}

func (r *reader) text(most int) string {
	n := int(r.U8())
	p := r.Take(n)
	if n > most || !utf8.Valid(p) {
		r.Bad = true
	}
	return string(p)
}

// addr refuses an IPv4 address in IPv6's clothes: it would be a second name.
func (r *reader) addr() netip.Addr {
	n := int(r.U8())
	if n == 0 {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(r.Take(n))
	if !ok || a.Is4In6() {
		r.Bad = true
	}
	return a
}
