package queue

import (
	"errors"
	"fmt"

	"rain/ring"
	"rain/ring/wire"
)

// Op wire format, version 1, big-endian:
//
//	op       version u8 | kind u8 | body
//	text8    length u8 | bytes        text16 length u16 | bytes
//	number   unsigned varint (LEB128), shortest form
//	member   id u32 | incarnation u64
//	id       member | n u64
//	sum      32 bytes; flagged: 0 u8, or 1 u8 | 32 bytes
//	address  length u8 (0: none, 4, 16) | bytes | port u16
//	request  address | method text8 | host text8 | path text16 | range text8 | object flagged | head text16 | conn text8 | since u64
//
//	Batch    count u16 | (n number, request)... | count u16 | (n number, offset number)... | count u16 | (n number)...
//	         begins, offsets, ends of the proposer's streams; each n is told as the difference to the one before, at least 1
//	Begin    n u64 | request | scope text8 | key flagged | fingerprint sum | name text8 | input text16 | body flagged
//	Finish   id | at u64 | answer text16 | body flagged | rider u8 (0: no inner op) | op: the rest
//	Abandon  id
//	Settle   count u16 | ids
//	Tick     seq u64 | elapsed u32 ms
const opVersion = 1

// OpKind names an op.
type OpKind uint8

// The ops.
const (
	OpBatch   OpKind = 1 // by any member: its own streams
	OpBegin   OpKind = 2 // an effect, before it runs
	OpFinish  OpKind = 3 // by an effect's owner: the inner op and the outcome, in one step
	OpAbandon OpKind = 4 // by an effect's owner: nothing ran and nothing will; the key is free again
	OpSettle  OpKind = 5 // by the owner of claimed streams: they are orphaned
	OpTick    OpKind = 6 // cluster time
)

// Op is a change to the table; which fields count says the wire format.
type Op struct {
	Kind OpKind

	Begins  []NewStream // by N, ascending; for an N that is there: more is known of it
	Offsets []Progress  // by N, ascending
	Ends    []uint64    // N, ascending

	N       uint64
	Request Request
	Effect  EffectPart // without Outcome

	ID     EntryID
	AtMS   uint64
	Answer []byte
	Body   Sum
	Rider  ring.RiderID
	Inner  []byte

	IDs []EntryID

	Seq       uint64
	ElapsedMS uint32
}

// NewStream begins a stream of the proposer's.
type NewStream struct {
	N uint64
	Request
}

// Progress is how far a stream is.
type Progress struct {
	N, Offset uint64
}

// ErrMalformed says that bytes are no op of this version.
var ErrMalformed = errors.New("queue: malformed op")

// ErrTooLarge says that an op holds more than the bounds allow.
var ErrTooLarge = errors.New("queue: beyond the bounds of an entry")

// Encode writes op's bytes. Errors: ErrTooLarge, ring.ErrOpTooLarge, and
// ErrMalformed for what ParseOp would refuse.
func (op *Op) Encode() ([]byte, error) {
	if op.tooLong() {
		return nil, ErrTooLarge
	}
	b := op.append(nil)
	if len(b) > ring.MaxOp {
		return nil, fmt.Errorf("queue: an op of %d bytes: %w", len(b), ring.ErrOpTooLarge)
	}
	if _, err := ParseOp(b); err != nil {
		return nil, fmt.Errorf("queue: this op cannot be written: %w", err)
	}
	return b, nil
}

// tooLong reports lengths that the wire format has no room for.
func (op *Op) tooLong() bool {
	bad := op.Request.tooLong() || len(op.Effect.Scope) > MaxScope || len(op.Effect.Name) > MaxName ||
		len(op.Effect.Input) > MaxInput || len(op.Answer) > MaxAnswer ||
		max(len(op.Begins), len(op.Offsets), len(op.Ends), len(op.IDs)) > maxCount
	for i := range op.Begins {
		bad = bad || op.Begins[i].tooLong()
	}
	return bad
}

// maxCount is the most values in one list of an op.
const maxCount = 1<<16 - 1

func (q *Request) tooLong() bool {
	return len(q.Method) > MaxMethod || len(q.Host) > MaxHost || len(q.Path) > MaxPath || len(q.Range) > MaxRange ||
		len(q.Head) > MaxHead || len(q.Conn) > MaxConn
}

func (op *Op) append(b []byte) []byte {
	b = append(b, opVersion, byte(op.Kind))
	switch op.Kind {
	case OpBatch:
		b = op.appendBatch(b)
	case OpBegin:
		e := &op.Effect
		b = appendRequest(appendU64(b, op.N), &op.Request)
		b = appendFlagged(append8(b, e.Scope), e.HasKey, e.Key)
		b = append(b, e.Fingerprint[:]...)
		b = append16(append8(b, e.Name), string(e.Input))
		b = appendSum(b, e.Body)
	case OpFinish:
		b = appendU64(appendID(b, op.ID), op.AtMS)
		b = appendSum(append16(b, string(op.Answer)), op.Body)
		b = append(append(b, byte(op.Rider)), op.Inner...)
	case OpAbandon:
		b = appendID(b, op.ID)
	case OpSettle:
		b = appendU16(b, len(op.IDs))
		for _, id := range op.IDs {
			b = appendID(b, id)
		}
	case OpTick:
		b = appendU32(appendU64(b, op.Seq), op.ElapsedMS)
	}
	return b
}

func (op *Op) appendBatch(b []byte) []byte {
	b = appendU16(b, len(op.Begins))
	last := uint64(0)
	for i := range op.Begins {
		s := &op.Begins[i]
		b = appendRequest(appendNumber(b, s.N-last), &s.Request)
		last = s.N
	}
	b = appendU16(b, len(op.Offsets))
	last = 0
	for _, p := range op.Offsets {
		b = appendNumber(appendNumber(b, p.N-last), p.Offset)
		last = p.N
	}
	b = appendU16(b, len(op.Ends))
	last = 0
	for _, n := range op.Ends {
		b = appendNumber(b, n-last)
		last = n
	}
	return b
}

// ParseOp reads one op. Its byte slices are b's.
func ParseOp(b []byte) (*Op, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	if v := r.U8(); v != opVersion {
		return nil, fmt.Errorf("%w: version %d, this program speaks %d", ErrMalformed, v, opVersion)
	}
	op := &Op{Kind: OpKind(r.U8())}
	switch op.Kind {
	case OpBatch:
		r.batch(op)
	case OpBegin:
		op.N, op.Request = r.U64(), r.request()
		e := &op.Effect
		e.Scope = r.text8(MaxScope)
		e.HasKey, e.Key = r.flagged()
		r.copySum(&e.Fingerprint)
		e.Name, e.Input, e.Body = r.text8(MaxName), r.bytes16(MaxInput), r.sum()
		r.Bad = r.Bad || op.N == 0
	case OpFinish:
		op.ID, op.AtMS, op.Answer, op.Body = r.id(), r.U64(), r.bytes16(MaxAnswer), r.sum()
		op.Rider = ring.RiderID(r.U8())
		op.Inner, r.B = r.B, nil
		r.Bad = r.Bad || op.Rider == 0 && len(op.Inner) > 0
	case OpAbandon:
		op.ID = r.id()
	case OpSettle:
		for range r.count(idSize) {
			op.IDs = append(op.IDs, r.id())
		}
	case OpTick:
		op.Seq, op.ElapsedMS = r.U64(), r.U32()
	default:
		r.Bad = true
	}
	if !r.Done() {
		return nil, fmt.Errorf("%w: kind %d, %d bytes", ErrMalformed, op.Kind, len(b))
	}
	return op, nil
}

func (r *reader) batch(op *Op) {
	last := uint64(0)
	next := func() uint64 {
		d := r.number()
		r.Bad = r.Bad || d == 0 || last+d < last
		last += d
		return last
	}
	for range r.count(minRequest + 1) {
		op.Begins = append(op.Begins, NewStream{N: next(), Request: r.request()})
		if r.Bad {
			return
		}
	}
	last = 0
	for range r.count(2) {
		op.Offsets = append(op.Offsets, Progress{N: next(), Offset: r.number()})
	}
	last = 0
	for range r.count(1) {
		op.Ends = append(op.Ends, next())
	}
}
