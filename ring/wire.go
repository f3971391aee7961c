package ring

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rain/ring/wire"
)

// Wire format, versions 1 and 2. Big-endian throughout.
//
//	message   version u8 | kind u8 | body
//	member    id u32 | incarnation u64
//	stamp     epoch u64 | seq u64
//	bytes     length u32 | that many bytes
//	list      count u16 | items          (ops: count u32)
//	view      number u64 | list of (member | since u64)
//	entry     member | n u64 | rider u8 | bytes
//
// A message parses in exactly one way and is written back byte for byte. A
// parser never allocates more than a small multiple of what it was given.

// WireVersion is the version of the message format that this program speaks, and
// WireOldest the oldest that it still reads and writes, for nodes of the release
// before. Version 2 tells doubts from suspicions, and grants bear witness: in
// version 1 a suspect is sure, doubts are left out, and grants are silent.
const (
	WireVersion = 2
	WireOldest  = 1
)

// ErrMalformed says that bytes are no message of this version.
var ErrMalformed = errors.New("ring: malformed message")

func (w *writer) suspects(list []Suspect) {
	if w.version < 2 {
		list = slices.DeleteFunc(slices.Clone(list), func(s Suspect) bool { return !s.Sure })
	}
	w.u16(uint16(len(list)))
	for _, s := range list {
		w.member(s.Member)
		w.u64(s.Seq)
		if w.version >= 2 {
			w.member(s.By)
			w.bool(s.Sure)
			w.u64(s.SureAt)
		}
	}
}

func (r *reader) suspects() (list []Suspect) {
	if r.version < 2 {
		for range r.count(MaxMembers, 20) {
			s := Suspect{Member: r.member(), Seq: r.U64(), Sure: true}
			s.SureAt = s.Seq
			list = append(list, s)
		}
		return list
	}
	for range r.count(MaxMembers, 41) {
		list = append(list, Suspect{r.member(), r.U64(), r.member(), r.Flag(), r.U64()})
	}
	return list
}

func (w *writer) token(t *Token) {
	w.stamp(t.Stamp())
	w.u64(t.Base)
	w.u64(t.Commit)
	w.u64(t.Stable)
	w.members(t.Ring)
	w.suspects(t.Suspects)
	w.u16(uint16(len(t.Acks)))
	for _, a := range t.Acks {
		w.member(a.Member)
		w.u64(a.Ack)
		w.u64(a.Dur)
		w.u64(a.Seen)
	}
	w.u16(uint16(len(t.Rows)))
	for _, l := range t.Rows {
		w.member(l.Member)
		w.bytes(l.Data)
	}
	w.u32(uint32(len(t.Ops)))
	for _, e := range t.Ops {
		w.entry(e)
	}
}

func (r *reader) token() *Token {
	s := r.stamp()
	t := &Token{Epoch: s.Epoch, Seq: s.Seq, Base: r.U64(), Commit: r.U64(), Stable: r.U64()}
	t.Ring = r.members()
	t.Suspects = r.suspects()
	acks := r.count(MaxMembers, 36)
	t.Acks = slices.Grow(t.Acks, acks)
	for range acks {
		t.Acks = append(t.Acks, Ack{r.member(), r.U64(), r.U64(), r.U64()})
	}
	rows := r.count(MaxMembers, 16)
	t.Rows = slices.Grow(t.Rows, rows)
	for range rows {
		t.Rows = append(t.Rows, Row{r.member(), r.bytes(MaxRow)})
	}
	n := r.U32()
	if n > MaxOps || int(n)*entryOverhead > len(r.B) {
		r.Bad = true
		return t
	}
	t.Ops = slices.Grow(t.Ops, int(n))
	for range n {
		t.Ops = append(t.Ops, r.entry())
	}
	if t.Base > 1<<62 || t.Commit > t.Last() || t.Stable > t.Commit {
		r.Bad = true
	}
	return t
}

const entryOverhead = 12 + 8 + 1 + 4

// AppendMessage appends m's bytes to b, in the newest version.
func AppendMessage(b []byte, m Message) []byte { return AppendMessageAs(b, m, WireVersion) }

// AppendMessageAs appends m's bytes to b in a version from WireOldest to
// WireVersion.
func AppendMessageAs(b []byte, m Message, version int) []byte {
	w := writer{b: b, version: min(max(version, WireOldest), WireVersion)}
	w.u8(uint8(w.version))
	w.u8(uint8(m.kind()))
	switch m := m.(type) {
	case *Token:
		w.token(m)
	case Call:
		w.u64(uint64(m.Epoch))
		w.stamp(m.Copy)
		w.u64(m.Settled)
		w.bool(m.Probe)
	case Grant:
		w.u64(uint64(m.Epoch))
		w.bool(m.Probe)
		w.u64(uint64(m.Age))
		if w.version >= 2 {
			w.members(m.Silent)
		}
	case Deny:
		w.u64(uint64(m.Epoch))
		w.u64(uint64(m.Promised))
		w.stamp(m.Copy)
		w.bool(m.Probe)
	case Out:
		w.view(m.View)
	case Refused:
		w.stamp(m.Token)
		w.u64(uint64(m.Promised))
		w.stamp(m.Copy)
	case Seek:
		w.u32(m.Generation)
		w.u64(m.Index)
		w.u64(uint64(m.DiskEpoch))
		w.u64(m.DiskLast)
		w.u64(uint64(m.Promise))
		w.bool(m.Founder)
		w.u64(uint64(m.Lease))
	case Welcome:
		w.stamp(m.Copy)
		w.u64(m.View)
		w.u64(uint64(m.Lease))
		w.u64(uint64(m.Above))
	case ColdCall:
		w.u64(uint64(m.Epoch))
		w.u64(uint64(m.DiskEpoch))
		w.u64(m.DiskLast)
	case ColdGrant:
		w.u64(uint64(m.Epoch))
	case ColdDeny:
		w.u64(uint64(m.Epoch))
		w.u64(uint64(m.Promise))
		w.u64(uint64(m.DiskEpoch))
		w.u64(m.DiskLast)
	case ColdMade:
		w.u64(uint64(m.Epoch))
	case Hurry:
		w.u64(uint64(m.Epoch))
	default:
		panic(fmt.Sprintf("ring: no wire form for %T", m)) // a bug here
	}
	return w.b
}

// ParseMessage reads one message. It keeps nothing of b.
func ParseMessage(b []byte) (Message, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	if r.version = int(r.U8()); r.version < WireOldest || r.version > WireVersion {
		return nil, fmt.Errorf("%w: version %d, this program speaks %d to %d", ErrMalformed, r.version, WireOldest, WireVersion)
	}
	k := kind(r.U8())
	m := r.body(k)
	if m == nil || !r.Done() {
		return nil, fmt.Errorf("%w: kind %d, %d bytes", ErrMalformed, k, len(b))
	}
	return m, nil
}

func (r *reader) grant() Grant {
	g := Grant{Epoch: Epoch(r.U64()), Probe: r.Flag(), Age: r.duration()}
	if r.version >= 2 {
		g.Silent = r.members()
	}
	return g
}

func (r *reader) body(k kind) Message {
	switch k {
	case kindToken:
		return r.token()
	case kindCall:
		return Call{Epoch(r.U64()), r.stamp(), r.U64(), r.Flag()}
	case kindGrant:
		return r.grant()
	case kindDeny:
		return Deny{Epoch(r.U64()), Epoch(r.U64()), r.stamp(), r.Flag()}
	case kindOut:
		return Out{r.view()}
	case kindRefused:
		return Refused{r.stamp(), Epoch(r.U64()), r.stamp()}
	case kindSeek:
		return Seek{r.U32(), r.U64(), Epoch(r.U64()), r.U64(), Epoch(r.U64()), r.Flag(), r.duration()}
	case kindWelcome:
		return Welcome{r.stamp(), r.U64(), r.duration(), Incarnation(r.U64())}
	case kindColdCall:
		return ColdCall{Epoch(r.U64()), Epoch(r.U64()), r.U64()}
	case kindColdGrant:
		return ColdGrant{Epoch(r.U64())}
	case kindColdDeny:
		return ColdDeny{Epoch(r.U64()), Epoch(r.U64()), Epoch(r.U64()), r.U64()}
	case kindColdMade:
		return ColdMade{Epoch(r.U64())}
	case kindHurry:
		return Hurry{Epoch(r.U64())}
	}
	return nil
}

func (r *reader) duration() time.Duration {
	v := r.U64()
	if v > uint64(24*time.Hour) {
		r.Bad = true
	}
	return time.Duration(v)
}

// encodeViewChange is the Data of a RiderViews entry.
func encodeViewChange(c ViewChange) []byte {
	var w writer
	w.view(c.View)
	w.u64(uint64(c.Wait))
	w.bool(c.Cold)
	w.u8(uint8(c.Kind))
	w.members(c.Who)
	return w.b
}

// ParseViewChange reads the Data of a RiderViews entry.
func ParseViewChange(b []byte) (ViewChange, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	c := ViewChange{View: r.view(), Wait: r.duration(), Cold: r.Flag(), Kind: CauseKind(r.U8())}
	c.Who = r.members()
	if !r.Done() || len(c.View.Members) == 0 {
		return ViewChange{}, fmt.Errorf("%w: view change", ErrMalformed)
	}
	return c, nil
}

// AppendHeader appends a snapshot header's bytes: stamp, index, stable, list of
// (index u64 | cold u8 | view).
func AppendHeader(b []byte, h SnapshotHeader) []byte {
	w := writer{b: b}
	w.stamp(h.Stamp)
	w.u64(h.Index)
	w.u64(h.Stable)
	w.u16(uint16(len(h.Views)))
	for _, v := range h.Views {
		w.u64(v.Index)
		w.bool(v.Cold)
		w.view(v.View)
	}
	return w.b
}

// ParseHeader reads what AppendHeader wrote.
func ParseHeader(b []byte) (SnapshotHeader, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	h := SnapshotHeader{Stamp: r.stamp(), Index: r.U64(), Stable: r.U64()}
	for range r.count(2, 19) {
		h.Views = append(h.Views, IndexedView{r.U64(), r.Flag(), r.view()})
	}
	if !r.Done() {
		return SnapshotHeader{}, fmt.Errorf("%w: snapshot header", ErrMalformed)
	}
	return h, nil
}

// AppendEntry appends an entry's bytes, as they stand on the token and on disk.
func AppendEntry(b []byte, e Entry) []byte {
	w := writer{b: b}
	w.entry(e)
	return w.b
}

// ParseEntry reads what AppendEntry wrote.
func ParseEntry(b []byte) (Entry, error) {
	r := &reader{Reader: wire.Reader{B: b}}
	e := r.entry()
	if !r.Done() {
		return Entry{}, fmt.Errorf("%w: entry", ErrMalformed)
	}
	return e, nil
}
