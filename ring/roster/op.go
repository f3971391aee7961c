package roster

import (
	"errors"
	"fmt"
	"net/netip"

	"rain/ring"
	"rain/ring/wire"
)

// Op wire format, version 1, big-endian:
//
//	op       version u8 | kind u8 | body
//	text     length u8 | UTF-8
//	addr     length u8 (4 or 16) | bytes | port u16
//	addrs    count u8 (at most MaxLinks) | addr
//
//	Invite   invitation 8 bytes | hash 32 bytes | now u64 | expires u64 | name text
//	Revoke   invitation 8 bytes
//	Redeem   invitation 8 bytes | hash 32 bytes | nonce 16 bytes | now u64 | least id u32 | name text | addrs | admin text
//	Tell     id u32 | name text | addrs | admin text
//	Forget   id u32
//	ChangeKey pin 8 bytes
//
//	result   version u8 | refusal u8 | id u32 | text
const opVersion = 1

// Kind names an op.
type Kind uint8

// The ops.
const (
	Invite Kind = 1
	Revoke Kind = 2
	Redeem Kind = 3 // a node comes by an invitation and gets an id
	Tell   Kind = 4 // a node's name and addresses, by itself
	Forget Kind = 5 // a node is gone for good

	ChangeKey Kind = 6 // a change of the cluster key begins
)

// Op is a change to the roster; which fields count says the wire format.
type Op struct {
	Kind       Kind
	Invitation InvitationID
	Hash       [32]byte
	Nonce      Nonce
	NowMS      uint64
	ExpiresMS  uint64
	ID         ring.NodeID // Redeem: the least one to give
	Name       string
	Links      []netip.AddrPort
	Admin      string
	Key        KeyPin
}

// Refusal says why an op changed nothing.
type Refusal uint8

// The refusals.
const (
	Malformed Refusal = 1
	NotFound  Refusal = 2
	Used      Refusal = 3
	Expired   Refusal = 4
	NameTaken Refusal = 5
	Full      Refusal = 6
	Gone      Refusal = 7
	Conflict  Refusal = 8
)

// Result is what Apply returns, in bytes. Refusal is 0 if the op was carried out.
type Result struct {
	Refusal Refusal
	ID      ring.NodeID // that Redeem gave
	Text    string
}

// ErrMalformed says that bytes are no op, result or snapshot of this version.
var ErrMalformed = errors.New("roster: malformed")

// Append writes op's bytes. What is too long is cut.
func (op Op) Append(b []byte) []byte {
	w := writer{append(b, opVersion, byte(op.Kind))}
	switch op.Kind {
	case Invite:
		w.bytes(op.Invitation[:], op.Hash[:])
		w.u64(op.NowMS)
		w.u64(op.ExpiresMS)
		w.text(op.Name, MaxName)
	case Revoke:
		w.bytes(op.Invitation[:])
	case Redeem:
		w.bytes(op.Invitation[:], op.Hash[:], op.Nonce[:])
		w.u64(op.NowMS)
		w.u32(uint32(op.ID))
		w.place(op.Name, op.Links, op.Admin)
	case Tell:
		w.u32(uint32(op.ID))
		w.place(op.Name, op.Links, op.Admin)
	case Forget:
		w.u32(uint32(op.ID))
	case ChangeKey:
		w.bytes(op.Key[:])
	}
	return w.b
}

// ParseOp reads one op. It keeps nothing of b.
func ParseOp(b []byte) (Op, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	if v := r.U8(); v != opVersion {
		return Op{}, fmt.Errorf("%w: version %d, this program speaks %d", ErrMalformed, v, opVersion)
	}
	op := Op{Kind: Kind(r.U8())}
	switch op.Kind {
	case Invite:
		copy(op.Invitation[:], r.Take(len(op.Invitation)))
		copy(op.Hash[:], r.Take(len(op.Hash)))
		op.NowMS, op.ExpiresMS, op.Name = r.U64(), r.U64(), r.text(MaxName)
	case Revoke:
		copy(op.Invitation[:], r.Take(len(op.Invitation)))
	case Redeem:
		copy(op.Invitation[:], r.Take(len(op.Invitation)))
		copy(op.Hash[:], r.Take(len(op.Hash)))
		copy(op.Nonce[:], r.Take(len(op.Nonce)))
		op.NowMS, op.ID = r.U64(), ring.NodeID(r.U32())
		op.Name, op.Links, op.Admin = r.place()
	case Tell:
		op.ID = ring.NodeID(r.U32())
		op.Name, op.Links, op.Admin = r.place()
		r.Bad = r.Bad || op.ID == 0 || op.Name == ""
	case Forget:
		op.ID = ring.NodeID(r.U32())
		r.Bad = r.Bad || op.ID == 0
	case ChangeKey:
		copy(op.Key[:], r.Take(len(op.Key)))
	default:
		r.Bad = true
	}
	if !r.Done() {
		return Op{}, fmt.Errorf("%w op: kind %d, %d bytes", ErrMalformed, op.Kind, len(b))
	}
	return op, nil
}

// maxText bounds the text of a result.
const maxText = 255

func (res Result) append(b []byte) []byte {
	w := writer{append(b, opVersion, byte(res.Refusal))}
	w.u32(uint32(res.ID))
	w.text(res.Text, maxText)
	return w.b
}

// ParseResult reads what Apply returned.
func ParseResult(b []byte) (Result, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	v := r.U8()
	res := Result{Refusal: Refusal(r.U8()), ID: ring.NodeID(r.U32()), Text: r.text(maxText)}
	if v != opVersion || !r.Done() {
		return Result{}, fmt.Errorf("%w result of %d bytes", ErrMalformed, len(b))
	}
	return res, nil
}
