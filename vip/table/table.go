// Package table is the replicated table of virtual IPs: which address belongs
// to whom. It is a rider of the ring and a pure core: no clock, no socket.
//
// Guarantees, on every member that has applied the same ops and views:
//   - the tables are equal, byte for byte in a snapshot;
//   - an address has at most one owner, and changes hands only by an op: Free
//     or Give by its owner, Own by another once it is free or its owner is out
//     of the newest view;
//   - Want is the same function everywhere: even (without pins the counts differ
//     by at most one), sticky (no spread as even moves fewer addresses), blind to
//     draining members.
//
// Acting rule: a member acts on an address iff Entry.Owner is itself, its lease
// runs, and Entry.FreeAt is past by its own clock. FreeAt covers every view
// change at a lower index than the op that made it owner.
//
// Limits: MaxAddresses addresses, MaxPools pools, MaxEvents remembered moves,
// texts of MaxText bytes. An op beyond them, or malformed, changes nothing.
//
// What an op knows of time (wall clock, ms) its proposer put there; it is shown
// to people and decides nothing.
package table

import (
	"net/netip"
	"slices"

	"rain/ring"
)

// Bounds of a table.
const (
	MaxAddresses = 1024
	MaxPools     = 64
	MaxEvents    = 128
	MaxText      = 200
)

// Address is a virtual IP and where it belongs.
type Address struct {
	Prefix    netip.Prefix // the address with the length of its network
	Pool      string
	Interface string // where drivers that configure addresses put it
}

// Addr is the address alone.
func (a Address) Addr() netip.Addr { return a.Prefix.Addr() }

// Pool is a named set of addresses.
type Pool struct {
	Name      string
	Interface string
	Addresses []netip.Prefix
}

// Entry is one address's row.
type Entry struct {
	Address
	Owner    ring.Member // zero: free
	OwnIndex uint64      // index of the op that made Owner the owner; names this ownership
	// A planned hand-over: Next gets ready to listen, then says Ready.
	Next      ring.Member // zero: none
	NextIndex uint64      // index of the Prepare
	Ready     bool
	Pin       ring.NodeID // where an operator wants it; 0: anywhere
	Last      ring.NodeID // the newest owner's id, kept while free
	SinceMS   uint64      // wall clock of the op that made Owner the owner
	Moves     uint64      // how often the owner changed to another node
	Cause     string      // of the last change
	Served    bool        // Owner has told that it answers
	Removed   bool        // in no pool any more; the row goes when Owner frees it
	GapMS     uint32      // how long nobody answered at the last change, as Owner saw it
	// FreeAt is by this host's clock and not part of the replicated state.
	FreeAt ring.Instant
}

// Event is one change of an owner. Zero ids: nobody.
type Event struct {
	Index    uint64
	Addr     netip.Addr
	From, To ring.NodeID
	Cause    string
	AtMS     uint64
	GapMS    uint32
}

// Table is one state. It never changes: share it freely.
type Table struct {
	Index    uint64
	View     ring.View
	FreeAt   ring.Instant
	Entries  []Entry       // by address
	Draining []ring.Member // by id
	Events   []Event       // oldest first
	changed  chan struct{}
}

// Changed is closed when there is a newer table.
func (t *Table) Changed() <-chan struct{} { return t.changed }

// Find returns the entry of addr, or nil. It must not be written to.
func (t *Table) Find(addr netip.Addr) *Entry {
	i, ok := t.find(addr)
	if !ok {
		return nil
	}
	return &t.Entries[i]
}

func (t *Table) find(addr netip.Addr) (int, bool) {
	return slices.BinarySearchFunc(t.Entries, addr, func(e Entry, a netip.Addr) int {
		return e.Addr().Compare(a)
	})
}

// IsDraining reports whether m shall give up what it has and get nothing.
func (t *Table) IsDraining(m ring.Member) bool { return slices.Contains(t.Draining, m) }

// Orphan reports whether e may be owned anew: free, or its owner left the view.
func (t *Table) Orphan(e *Entry) bool { return e.Owner.IsZero() || !t.View.Has(e.Owner) }

// clone copies what Apply may write to.
func (t *Table) clone() *Table {
	c := *t
	c.Entries = slices.Clone(t.Entries)
	c.Draining = slices.Clone(t.Draining)
	c.Events = slices.Clone(t.Events)
	c.changed = make(chan struct{})
	return &c
}
