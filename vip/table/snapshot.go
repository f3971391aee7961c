package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"rain/ring"
	"rain/ring/wire"
)

// Snapshot format, version 1, in the words of the op format:
//
//	version u8 | count u16 | entries | count u16 | draining members | count u16 | events
//	entry  prefix | pool text | interface text | owner member | own index u64 | next member | next index u64 | ready u8
//	       pin u32 | last u32 | since u64 | moves u64 | cause text | served u8 | removed u8 | gap u32
//	event  index u64 | addr | from u32 | to u32 | cause text | at u64 | gap u32
//
// View and FreeAt are not in it: the ring tells them after a Restore.
const (
	snapshotVersion = 1
	maxSnapshot     = 2 << 20 // more than MaxAddresses entries with longest texts need
)

// ErrSnapshot says that bytes are no snapshot of this version.
var ErrSnapshot = errors.New("vip table: malformed snapshot")

// Snapshot writes the whole table.
func (r *Rider) Snapshot(w io.Writer) error {
	t := r.now.Load()
	b := []byte{snapshotVersion}
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Entries)))
	for i := range t.Entries {
		b = t.Entries[i].append(b)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Draining)))
	for _, m := range t.Draining {
		b = appendMember(b, m)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Events)))
	for _, e := range t.Events {
		b = e.append(b)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("vip table: write snapshot: %w", err)
	}
	return nil
}

// Restore replaces the table. Without the View that follows nobody owns a thing.
func (r *Rider) Restore(src io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(src, maxSnapshot+1))
	if err != nil {
		return fmt.Errorf("vip table: read snapshot: %w", err)
	}
	t, err := parseSnapshot(b)
	if err != nil {
		return err
	}
	t.FreeAt = r.now.Load().FreeAt
	r.restored = true
	r.publish(t)
	return nil
}

func parseSnapshot(b []byte) (*Table, error) {
	rd := &reader{Reader: wire.Reader{B: b}}
	if v := rd.U8(); v != snapshotVersion || len(b) > maxSnapshot {
		return nil, fmt.Errorf("%w: version %d, %d bytes", ErrSnapshot, v, len(b))
	}
	t := &Table{changed: make(chan struct{})}
	for range rd.count(MaxAddresses) {
		e := rd.entry()
		if n := len(t.Entries); rd.Bad || n > 0 && t.Entries[n-1].Addr().Compare(e.Addr()) >= 0 {
			return nil, fmt.Errorf("%w: entry %d", ErrSnapshot, n)
		}
		t.Entries = append(t.Entries, e)
	}
	for range rd.count(ring.MaxMembers) {
		m := rd.member()
		if n := len(t.Draining); rd.Bad || n > 0 && compareMembers(t.Draining[n-1], m) >= 0 {
			return nil, fmt.Errorf("%w: draining member %d", ErrSnapshot, n)
		}
		t.Draining = append(t.Draining, m)
	}
	for range rd.count(MaxEvents) {
		t.Events = append(t.Events, rd.event())
		if rd.Bad {
			break
		}
	}
	if !rd.Done() {
		return nil, fmt.Errorf("%w: %d bytes", ErrSnapshot, len(b))
	}
	return t, nil
}

func (r *reader) count(limit int) int {
	n := int(r.U16())
	if n > limit {
		r.Bad = true
		return 0
	}
	return n
}

func (e *Entry) append(b []byte) []byte {
	b = appendText(appendText(appendPrefix(b, e.Prefix), e.Pool), e.Interface)
	b = binary.BigEndian.AppendUint64(appendMember(b, e.Owner), e.OwnIndex)
	b = binary.BigEndian.AppendUint64(appendMember(b, e.Next), e.NextIndex)
	b = append(b, flag(e.Ready))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Pin))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Last))
	b = binary.BigEndian.AppendUint64(b, e.SinceMS)
	b = binary.BigEndian.AppendUint64(b, e.Moves)
	b = append(appendText(b, e.Cause), flag(e.Served), flag(e.Removed))
	return binary.BigEndian.AppendUint32(b, e.GapMS)
}

func (r *reader) entry() Entry {
	return Entry{
		Address: Address{Prefix: r.prefix(), Pool: r.text(), Interface: r.text()},
		Owner:   r.member(), OwnIndex: r.U64(),
		Next: r.member(), NextIndex: r.U64(), Ready: r.Flag(),
		Pin: ring.NodeID(r.U32()), Last: ring.NodeID(r.U32()),
		SinceMS: r.U64(), Moves: r.U64(), Cause: r.text(), Served: r.Flag(), Removed: r.Flag(), GapMS: r.U32(),
	}
}

func (e Event) append(b []byte) []byte {
	b = appendAddr(binary.BigEndian.AppendUint64(b, e.Index), e.Addr)
	b = binary.BigEndian.AppendUint32(b, uint32(e.From))
	b = binary.BigEndian.AppendUint32(b, uint32(e.To))
	b = appendText(b, e.Cause)
	b = binary.BigEndian.AppendUint64(b, e.AtMS)
	return binary.BigEndian.AppendUint32(b, e.GapMS)
}

func (r *reader) event() Event {
	return Event{
		Index: r.U64(), Addr: r.addr(), From: ring.NodeID(r.U32()), To: ring.NodeID(r.U32()),
		Cause: r.text(), AtMS: r.U64(), GapMS: r.U32(),
	}
}
