package catalog

import (
	"encoding/binary"
	"fmt"

	"rain/ring"
	"rain/ring/wire"
)

const (
	formatVersion = 1
	// stripeVersion is the version of puts of striped bodies: members that do
	// not know them refuse the op.
	stripeVersion = 2
	// careVersion is the version of ops that came with layouts.
	careVersion = 3
)

type opKind uint8

const (
	opBucket opKind = 1
	opPut    opKind = 2
	opDelete opKind = 3
	opLayout opKind = 4
	opMove   opKind = 5
	opAppend opKind = 6
)

const (
	flagIfAbsent = 1
	flagIfMatch  = 2
)

// AnyTag as IfMatch asks only that the key is there.
const AnyTag = "*"

// Cond is what must hold when the op is applied. The zero Cond always holds.
type Cond struct {
	IfAbsent bool
	IfMatch  string // an ETag with its quotes, or AnyTag
}

// Outcome says what an op did.
type Outcome uint8

// Outcomes of ops.
const (
	Created      Outcome = 1 // a new key or bucket
	Replaced     Outcome = 2
	Deleted      Outcome = 3
	Exists       Outcome = 4 // the bucket is there already: nothing changed
	CondFailed   Outcome = 5
	NoBucket     Outcome = 6
	NoObject     Outcome = 7
	Malformed    Outcome = 8
	TooMany      Outcome = 9 // buckets
	Moved        Outcome = 10
	lastOutcome          = Moved
	minResultLen         = 11
)

// Result is the outcome of an op and the key's version and ETag after it.
type Result struct {
	Outcome Outcome
	Version uint64
	ETag    string
}

// op is a parsed op.
type op struct {
	kind   opKind
	bucket string
	n, k   uint16
	least  uint8 // losses that an object must survive when it is put
	key    string
	cond   Cond
	rec    *Record
	base   uint64 // version of the layout that is replaced
	layout *Layout
	move   move
}

// EncodeBucket makes the op that makes a bucket with code (n, k); 0, 0: the
// cluster's own. least is how many losses an object must survive when it is put.
func EncodeBucket(bucket string, n, k uint16, least uint8) ([]byte, error) {
	if err := CheckBucket(bucket); err != nil {
		return nil, err
	}
	return (&op{kind: opBucket, bucket: bucket, n: n, k: k, least: least}).append(nil), nil
}

// EncodePut makes the op that puts a record under a key. The record's Version,
// ETag and Hex do not travel.
func EncodePut(bucket, key string, c Cond, rec Record) ([]byte, error) {
	if err := checkOp(bucket, key, c); err != nil {
		return nil, err
	}
	if err := rec.check(); err != nil {
		return nil, err
	}
	if rec.Origin != nil {
		return nil, fmt.Errorf("catalog: put of %s/%s: a new version has columns that moved: %w", bucket, key, ErrMalformed)
	}
	b := (&op{kind: opPut, bucket: bucket, key: key, cond: c, rec: &rec}).append(nil)
	if len(b) > ring.MaxOp {
		return nil, fmt.Errorf("catalog: put of %s/%s: %w", bucket, key, ring.ErrOpTooLarge)
	}
	return b, nil
}

// EncodeDelete makes the op that deletes a key.
func EncodeDelete(bucket, key string, c Cond) ([]byte, error) {
	if err := checkOp(bucket, key, c); err != nil {
		return nil, err
	}
	return (&op{kind: opDelete, bucket: bucket, key: key, cond: c}).append(nil), nil
}

// EncodeAppend makes the op that puts a record under a key that nobody else can
// have chosen: see AppendedKey. The index of the op is its number, so that keys
// ascend in the order in which the members applied their ops.
func EncodeAppend(bucket, prefix string, rec Record) ([]byte, error) {
	if err := checkOp(bucket, AppendedKey(prefix, 0), Cond{}); err != nil {
		return nil, err
	}
	if err := rec.check(); err != nil {
		return nil, err
	}
	b := (&op{kind: opAppend, bucket: bucket, key: prefix, rec: &rec}).append(nil)
	if len(b) > ring.MaxOp {
		return nil, fmt.Errorf("catalog: append to %s/%s: %w", bucket, prefix, ring.ErrOpTooLarge)
	}
	return b, nil
}

// AppendedKey is the key of what an append with the prefix put at that index.
func AppendedKey(prefix string, version uint64) string {
	return fmt.Sprintf("%s%020d", prefix, version)
}

func checkOp(bucket, key string, c Cond) error {
	if err := CheckBucket(bucket); err != nil {
		return err
	}
	if err := CheckKey(key); err != nil {
		return err
	}
	if len(c.IfMatch) > 255 {
		return fmt.Errorf("catalog: an ETag of %d bytes; 255 are allowed", len(c.IfMatch))
	}
	return nil
}

func (o *op) version() byte {
	switch {
	case o.rec != nil && o.rec.Striped():
		return stripeVersion
	case o.kind == opLayout, o.kind == opMove, o.kind == opBucket && o.least > 0:
		return careVersion
	}
	return formatVersion
}

func (o *op) append(b []byte) []byte {
	b = append(b, o.version(), byte(o.kind))
	switch o.kind {
	case opLayout:
		return o.layout.appendTo(binary.BigEndian.AppendUint64(b, o.base))
	case opMove:
		return o.move.appendTo(b)
	}
	b = appendStr8(b, o.bucket)
	if o.kind == opBucket {
		b = binary.BigEndian.AppendUint16(b, o.n)
		b = binary.BigEndian.AppendUint16(b, o.k)
		if o.least > 0 {
			b = append(b, o.least)
		}
		return b
	}
	b = appendStr16(b, o.key)
	if o.kind == opAppend {
		return o.rec.appendTo(b)
	}
	var flags byte
	if o.cond.IfAbsent {
		flags |= flagIfAbsent
	}
	if o.cond.IfMatch != "" {
		flags |= flagIfMatch
	}
	b = append(b, flags)
	if o.cond.IfMatch != "" {
		b = appendStr8(b, o.cond.IfMatch)
	}
	if o.kind == opPut {
		b = o.rec.appendTo(b)
	}
	return b
}

// parseOp reads an op. What it accepts, append writes back byte for byte.
func parseOp(b []byte) (*op, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	v := r.U8()
	if v < formatVersion || v > careVersion {
		return nil, fmt.Errorf("catalog: op: %w", ErrMalformed)
	}
	o := &op{kind: opKind(r.U8())}
	if o.kind != opLayout && o.kind != opMove {
		o.bucket = r.str8()
		r.Bad = r.Bad || CheckBucket(o.bucket) != nil
	}
	switch o.kind {
	case opLayout:
		o.base, o.layout = r.U64(), r.layout()
	case opMove:
		o.move = r.move()
	case opBucket:
		o.n, o.k = r.U16(), r.U16()
		if v == careVersion {
			o.least = r.U8()
		}
	case opPut, opDelete:
		o.key = r.str16()
		flags := r.U8()
		o.cond.IfAbsent = flags&flagIfAbsent != 0
		if flags&flagIfMatch != 0 {
			o.cond.IfMatch = r.str8()
			r.Bad = r.Bad || o.cond.IfMatch == ""
		}
		r.Bad = r.Bad || flags > flagIfAbsent|flagIfMatch || CheckKey(o.key) != nil
		if o.kind == opPut {
			o.rec = r.record(v == stripeVersion, false)
		}
	case opAppend:
		o.key = r.str16()
		r.Bad = r.Bad || CheckKey(AppendedKey(o.key, 0)) != nil
		o.rec = r.record(v == stripeVersion, false)
	default:
		r.Bad = true
	}
	if !r.Done() || o.version() != v {
		return nil, fmt.Errorf("catalog: op: %w", ErrMalformed)
	}
	return o, nil
}

// Order is what an op that puts, appends or deletes an object is about.
type Order struct {
	Bucket string
	Key    string // of an append: the prefix of the key
	Append bool
	Rec    *Record // nil: a delete
}

// ParseOrder reads such an op.
func ParseOrder(b []byte) (Order, error) {
	o, err := parseOp(b)
	if err != nil {
		return Order{}, err
	}
	if o.kind == opBucket {
		return Order{}, fmt.Errorf("catalog: the op makes a bucket, no object: %w", ErrMalformed)
	}
	return Order{Bucket: o.bucket, Key: o.key, Append: o.kind == opAppend, Rec: o.rec}, nil
}

func (r Result) append(b []byte) []byte {
	b = append(b, formatVersion, byte(r.Outcome))
	b = binary.BigEndian.AppendUint64(b, r.Version)
	return appendStr8(b, r.ETag)
}

// ParseResult reads what Apply returned.
func ParseResult(b []byte) (Result, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	v := r.U8()
	res := Result{Outcome: Outcome(r.U8()), Version: r.U64(), ETag: r.str8()}
	if !r.Done() || v != formatVersion || res.Outcome < Created || res.Outcome > lastOutcome {
		return Result{}, fmt.Errorf("catalog: result: %w", ErrMalformed)
	}
	return res, nil
}
