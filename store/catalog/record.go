package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"rain/ring"
	"rain/ring/wire"
)

// Sum is the SHA-256 of a body.
type Sum [sha256.Size]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// ErrMalformed says that bytes are no op, result or snapshot of this version.
var ErrMalformed = errors.New("malformed, or of another version of the program")

// Record is one version of an object. It is never changed once it is in a
// table, nor may its Meta be.
type Record struct {
	Version  uint64 // index of the op that made it
	Sum      Sum
	Size     int64
	Modified int64 // Unix seconds
	N, K     uint16
	Type     string
	Meta     map[string]string
	// Nodes hold the columns of a striped body, in their order; nil: the body
	// lies whole on every member.
	Nodes []ring.NodeID
	Unit  uint32 // the stripe unit in bytes, if striped
	// Origin are the nodes that the put chose, if columns have moved since;
	// else nil.
	Origin []ring.NodeID

	ETag string // strong, with its quotes; derived from Sum and Type
	Hex  string // Sum in hex; derived
	// Body names what lies on the disks: Sum, or for a striped body a name that
	// depends on the code and the nodes that the put chose, too; its last four
	// bytes are zero then. It stays when columns move. Derived.
	Body Sum
}

// Striped reports whether the body is cut into columns.
func (r *Record) Striped() bool { return len(r.Nodes) > 0 }

// Column is the column that lies on the node; -1: none.
func (r *Record) Column(id ring.NodeID) int { return slices.Index(r.Nodes, id) }

// check holds a record to the limits.
func (r *Record) check() error {
	total := 0
	for k, v := range r.Meta {
		total += len(k) + len(v)
		if k == "" || len(k) > MaxMetaName {
			return fmt.Errorf("catalog: metadata name %.40q has %d bytes; 1 to %d are allowed", k, len(k), MaxMetaName)
		}
	}
	switch {
	case r.Size < 0 || r.Size > maxSize:
		return fmt.Errorf("catalog: size %d is out of range", r.Size)
	case len(r.Type) > MaxType:
		return fmt.Errorf("catalog: content type of %d bytes; %d are allowed", len(r.Type), MaxType)
	case len(r.Meta) > MaxMeta || total > MaxMetaBytes:
		return fmt.Errorf("catalog: %d entries of metadata with %d bytes; %d entries, %d bytes are allowed", len(r.Meta), total, MaxMeta, MaxMetaBytes)
	}
	if r.Striped() {
		return r.checkStripes()
	}
	if r.Origin != nil {
		return r.checkOrigin()
	}
	return nil
}

func (r *Record) checkStripes() error {
	sorted := slices.Clone(r.Nodes)
	slices.Sort(sorted)
	if len(sorted) > MaxColumns || len(sorted) != int(r.N) || r.K < 1 || r.K > r.N ||
		r.Unit < 1 || r.Unit > maxUnit || r.Size < 1 || len(slices.Compact(sorted)) != int(r.N) {
		return fmt.Errorf("catalog: %d columns of a code (%d,%d) with units of %d bytes for %d bytes: %w", len(r.Nodes), r.N, r.K, r.Unit, r.Size, ErrMalformed)
	}
	if r.Origin != nil {
		return r.checkOrigin()
	}
	return nil
}

// derive fills in the fields that follow from the others.
func (r *Record) derive() {
	h := sha256.New()
	h.Write(r.Sum[:])
	h.Write([]byte(r.Type))
	var d Sum
	h.Sum(d[:0])
	b := make([]byte, 0, 34+64)
	b = append(b, '"')
	b = hex.AppendEncode(b, d[:16])
	b = append(b, '"')
	b = hex.AppendEncode(b, r.Sum[:])
	s := string(b) // one string for both
	r.ETag, r.Hex = s[:34], s[34:]
	r.Body = r.body()
}

func (r *Record) body() Sum {
	if !r.Striped() {
		return r.Sum
	}
	b := append([]byte("rain stripes 1"), r.Sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Size))
	b = binary.BigEndian.AppendUint16(b, r.K)
	b = appendStripes(b, r.Unit, r.Chosen())
	s := Sum(sha256.Sum256(b))
	clear(s[len(s)-4:])
	return s
}

// Derive returns the record with the fields that follow from the others.
func (r Record) Derive() *Record {
	r.derive()
	return &r
}

func appendStr8(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func appendStr16(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// appendTo writes the record's bytes, without its version.
func (r *Record) appendTo(b []byte) []byte {
	b = append(b, r.Sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Modified))
	b = binary.BigEndian.AppendUint16(b, r.N)
	b = binary.BigEndian.AppendUint16(b, r.K)
	b = appendStr8(b, r.Type)
	b = append(b, byte(len(r.Meta)))
	for _, k := range slices.Sorted(maps.Keys(r.Meta)) {
		b = appendStr16(appendStr8(b, k), r.Meta[k])
	}
	if r.Striped() {
		b = appendStripes(b, r.Unit, r.Nodes)
	}
	return b
}

func appendStripes(b []byte, unit uint32, nodes []ring.NodeID) []byte {
	b = binary.BigEndian.AppendUint32(b, unit)
	for _, id := range nodes {
		b = binary.BigEndian.AppendUint32(b, uint32(id))
	}
	return b
}

// reader takes fields off the front of b. After the first fault bad is set and
// all that follows is zero.
type reader struct {
	wire.Reader
}

func (r *reader) str8() string  { return string(r.Take(int(r.U8()))) }
func (r *reader) str16() string { return string(r.Take(int(r.U16()))) }

// record reads what appendTo wrote, and nothing that it would write otherwise.
func (r *reader) record(striped, moved bool) *Record {
	rec := &Record{}
	copy(rec.Sum[:], r.Take(len(rec.Sum)))
	rec.Size = int64(r.U64())
	rec.Modified = int64(r.U64())
	rec.N = r.U16()
	rec.K = r.U16()
	rec.Type = r.str8()
	count := int(r.U8())
	last := ""
	for i := 0; i < count && !r.Bad; i++ {
		k, v := r.str8(), r.str16()
		if r.Bad || k <= last {
			r.Bad = true
			break
		}
		if rec.Meta == nil {
			rec.Meta = make(map[string]string, min(count, MaxMeta))
		}
		rec.Meta[k] = v
		last = k
	}
	if striped {
		rec.Unit = r.U32()
		r.Bad = r.Bad || rec.N == 0 || rec.N > MaxColumns
		for i := uint16(0); i < rec.N && !r.Bad; i++ {
			rec.Nodes = append(rec.Nodes, ring.NodeID(r.U32()))
		}
	}
	if moved {
		for i := uint16(0); i < rec.N && !r.Bad; i++ {
			rec.Origin = append(rec.Origin, ring.NodeID(r.U32()))
		}
		r.Bad = r.Bad || rec.Origin == nil
	}
	if r.Bad || rec.check() != nil {
		r.Bad = true
		return nil
	}
	rec.derive()
	return rec
}
