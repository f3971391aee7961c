package roster

import (
	"encoding/binary"
	"fmt"
	"io"

	"rain/ring"
	"rain/ring/wire"
)

// Snapshot, version 1, big-endian; op.go tells texts and addrs:
//
//	version u8 | count u16 | nodes: id u32, gone u8, name text, addrs, admin text |
//	count u16 | invitations: id 8 bytes, hash 32 bytes, expires u64, name text, by u32, used u32, nonce 16 bytes |
//	key pin 8 bytes
//
// Nodes and invitations are in the order of their ids. Nothing at all is an
// empty roster.
const snapshotVersion = 1

// maxSnapshot bounds what Restore reads.
const maxSnapshot = 4 << 20

// Snapshot writes the roster.
func (r *Rider) Snapshot(dst io.Writer) error {
	s := r.State()
	w := writer{[]byte{snapshotVersion}}
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(s.Nodes)))
	for _, n := range s.Nodes {
		w.u32(uint32(n.ID))
		gone := byte(0)
		if n.Gone {
			gone = 1
		}
		w.b = append(w.b, gone)
		w.place(n.Name, n.Links, n.Admin)
	}
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(s.Invitations)))
	for _, v := range s.Invitations {
		w.bytes(v.ID[:], v.Hash[:])
		w.u64(v.ExpiresMS)
		w.text(v.Name, MaxName)
		w.u32(uint32(v.By))
		w.u32(uint32(v.Used))
		w.bytes(v.Nonce[:])
	}
	w.bytes(s.Key[:])
	_, err := dst.Write(w.b)
	return err
}

// Restore replaces the roster.
func (r *Rider) Restore(src io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(src, maxSnapshot+1))
	if err != nil {
		return fmt.Errorf("roster: reading a snapshot: %w", err)
	}
	if len(b) > maxSnapshot {
		return fmt.Errorf("%w snapshot: more than %d bytes", ErrMalformed, maxSnapshot)
	}
	s, err := parseSnapshot(b)
	if err != nil {
		return err
	}
	r.publish(s)
	return nil
}

func parseSnapshot(b []byte) (*State, error) {
	s := &State{}
	r := &reader{Reader: wire.Reader{B: b}}
	if v := r.U8(); v != snapshotVersion {
		return nil, fmt.Errorf("%w snapshot: version %d, this program reads %d", ErrMalformed, v, snapshotVersion)
	}
	for i := range int(r.U16()) {
		n := Node{ID: ring.NodeID(r.U32())}
		gone := r.U8()
		n.Gone = gone == 1
		n.Name, n.Links, n.Admin = r.place()
		if r.Bad || gone > 1 || n.ID == 0 || i >= MaxNodes || i > 0 && n.ID <= s.Nodes[i-1].ID {
			return nil, fmt.Errorf("%w snapshot: node %d", ErrMalformed, i)
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range int(r.U16()) {
		var v Invitation
		copy(v.ID[:], r.Take(len(v.ID)))
		copy(v.Hash[:], r.Take(len(v.Hash)))
		v.ExpiresMS, v.Name, v.By, v.Used = r.U64(), r.text(MaxName), ring.NodeID(r.U32()), ring.NodeID(r.U32())
		copy(v.Nonce[:], r.Take(len(v.Nonce)))
		if r.Bad || i >= MaxInvitations || i > 0 && byInvitation(s.Invitations[i-1], v.ID) >= 0 {
			return nil, fmt.Errorf("%w snapshot: invitation %d", ErrMalformed, i)
		}
		s.Invitations = append(s.Invitations, v)
	}
	copy(s.Key[:], r.Take(len(s.Key)))
	if !r.Done() {
		return nil, fmt.Errorf("%w snapshot of %d bytes", ErrMalformed, len(b))
	}
	return s, nil
}
