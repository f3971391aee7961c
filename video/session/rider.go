package session

import (
	"io"
	"slices"
	"sync"

	"rain/ring"
)

// Rider is the table on the token. Apply, View, Snapshot and Restore belong to
// the ring's one goroutine; the rest may be called from anywhere.
type Rider struct {
	mu sync.RWMutex
	t  *table
}

var _ ring.Rider = (*Rider)(nil)

// NewRider returns an empty table.
func NewRider() *Rider { return &Rider{t: newTable()} }

// Apply changes the table by one batch. The result is empty if the batch was
// applied, now or before, else it says in a sentence why not.
func (r *Rider) Apply(index uint64, from ring.Member, data []byte) []byte {
	b, err := ParseBatch(data)
	if err != nil {
		return []byte(err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if why := r.t.apply(index, from, b); why != "" {
		return []byte("video session: " + why)
	}
	return nil
}

// View gives the sessions of members that left to others.
func (r *Rider) View(index uint64, v ring.View, _ ring.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t.turn(index, v)
}

// Snapshot writes the whole table.
func (r *Rider) Snapshot(w io.Writer) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.t.snapshot(w)
}

// Restore replaces the table.
func (r *Rider) Restore(src io.Reader) error {
	t, err := parseSnapshot(src)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t = t
	return nil
}

// Find returns a session.
func (r *Rider) Find(id ID) (Entry, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.t.entries[id]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Entries are all sessions, by ID.
func (r *Rider) Entries() []Entry {
	r.mu.RLock()
	all := r.t.list()
	r.mu.RUnlock() // the ring's goroutine must not wait for the sorting
	slices.SortFunc(all, inOrder)
	return all
}

// Len is the number of sessions.
func (r *Rider) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.t.entries)
}

// Totals are the counters.
func (r *Rider) Totals() Totals {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.t.totals
}

// Applied is the number of the newest batch of a node that was applied.
func (r *Rider) Applied(node ring.NodeID) uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.t.applied[node]
}
