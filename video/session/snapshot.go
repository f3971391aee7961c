package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"rain/ring"
	"rain/ring/wire"
)

// Snapshot format, version 1, in the words of the op format:
//
//	version u8 | begun, ended, taken, dropped, bytes: u64 each | count u16 | (node u32 | number u64) by node | count u32 | entries by id
//	entry  id | film text | rendition text | client addr | owner id u32, incarnation u64 | own index, heard, index: u64 each
//	       seeks u32 | position u32 | bytes u64 | since u64 | moves u32
//
// The view is not in it: the ring tells it after a Restore.
const (
	snapshotVersion = 1
	maxSnapshot     = 4 << 20 // more than MaxSessions entries with longest texts need
)

// ErrSnapshot says that bytes are no snapshot of this version.
var ErrSnapshot = errors.New("video session: malformed snapshot")

func (t *table) snapshot(w io.Writer) error {
	b := []byte{snapshotVersion}
	for _, n := range []uint64{t.totals.Begun, t.totals.Ended, t.totals.Taken, t.totals.Dropped, t.totals.Bytes} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.applied)))
	for _, id := range slices.Sorted(maps.Keys(t.applied)) {
		b = binary.BigEndian.AppendUint32(b, uint32(id))
		b = binary.BigEndian.AppendUint64(b, t.applied[id])
	}
	all := t.list()
	slices.SortFunc(all, inOrder)
	b = binary.BigEndian.AppendUint32(b, uint32(len(all)))
	for i := range all {
		b = all[i].append(b)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("video session: write snapshot: %w", err)
	}
	return nil
}

func (e *Entry) append(b []byte) []byte {
	b = append(b, e.ID[:]...)
	b = appendAddr(appendText(appendText(b, e.Film), e.Rendition), e.Client)
	b = binary.BigEndian.AppendUint32(b, uint32(e.Owner.ID))
	for _, n := range []uint64{uint64(e.Owner.Inc), e.OwnIndex, e.Heard, e.Index} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, e.Seeks)
	b = binary.BigEndian.AppendUint32(b, e.Position)
	b = binary.BigEndian.AppendUint64(b, e.Bytes)
	b = binary.BigEndian.AppendUint64(b, e.Since)
	return binary.BigEndian.AppendUint32(b, e.Moves)
}

func (r *reader) entry() *Entry {
	return &Entry{
		ID: r.id(), Film: r.text(MaxFilm), Rendition: r.text(MaxRendition), Client: r.addr(),
		Owner: r.member(), OwnIndex: r.U64(), Heard: r.U64(), Index: r.U64(),
		Seeks: r.U32(), Position: r.U32(), Bytes: r.U64(), Since: r.U64(), Moves: r.U32(),
	}
}

func parseSnapshot(src io.Reader) (*table, error) {
	b, err := io.ReadAll(io.LimitReader(src, maxSnapshot+1))
	if err != nil {
		return nil, fmt.Errorf("video session: read snapshot: %w", err)
	}
	r := &reader{Reader: wire.Reader{B: b}}
	if v := r.U8(); v != snapshotVersion || len(b) > maxSnapshot {
		return nil, fmt.Errorf("%w: version %d, %d bytes", ErrSnapshot, v, len(b))
	}
	t := newTable()
	t.totals = Totals{Begun: r.U64(), Ended: r.U64(), Taken: r.U64(), Dropped: r.U64(), Bytes: r.U64()}
	var last ring.NodeID
	for range r.U16() {
		id, number := ring.NodeID(r.U32()), r.U64()
		if r.Bad || id <= last {
			return nil, fmt.Errorf("%w: node %s", ErrSnapshot, id)
		}
		t.applied[id], last = number, id
	}
	n := r.U32()
	if n > MaxSessions {
		return nil, fmt.Errorf("%w: %d sessions", ErrSnapshot, n)
	}
	var before ID
	for i := range n {
		e := r.entry()
		if r.Bad || i > 0 && bytes.Compare(before[:], e.ID[:]) >= 0 {
			return nil, fmt.Errorf("%w: session %d", ErrSnapshot, i)
		}
		t.entries[e.ID], before = e, e.ID
	}
	if !r.Done() {
		return nil, fmt.Errorf("%w: %d bytes", ErrSnapshot, len(b))
	}
	return t, nil
}
