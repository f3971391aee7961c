package store

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rain/store/catalog"
)

// local is a body on this node's disk. Its fields are guarded by bodies.mu.
type local struct {
	size     int64
	verified bool      // held to its hash in this life of the process
	orphan   time.Time // since when no object refers to it, or it was last asked for; zero: needed
}

// bodies knows which bodies this node has, lacks and no longer needs. Its lock
// is never held over I/O: the ring's loop takes it.
type bodies struct {
	view func() *catalog.View
	now  func() time.Time

	mu      sync.Mutex
	have    map[catalog.Sum]*local
	missing map[catalog.Sum]int64 // size
	lacking atomic.Int64          // len(missing), for readers without the lock
}

func newBodies(view func() *catalog.View, now func() time.Time) *bodies {
	return &bodies{view: view, now: now, have: map[catalog.Sum]*local{}, missing: map[catalog.Sum]int64{}}
}

// change takes in what the catalog says. It reports whether something is
// missing now.
func (b *bodies) change(c catalog.Change) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.lacking.Store(int64(len(b.missing))) }()
	if c.Reset {
		b.reset()
		return len(b.missing) > 0
	}
	l := b.have[c.Sum]
	switch {
	case c.Needed && l != nil && l.size == c.Size:
		l.orphan = time.Time{}
	case c.Needed:
		b.missing[c.Sum] = c.Size
		return true
	default:
		if l != nil {
			l.orphan = b.now()
		}
		delete(b.missing, c.Sum)
	}
	return false
}

// reset compares all that is here with all that the catalog names.
func (b *bodies) reset() {
	now := b.now()
	for _, l := range b.have {
		if l.orphan.IsZero() {
			l.orphan = now
		}
	}
	clear(b.missing)
	b.view().Bodies(nil, func(s catalog.Sum, body catalog.Body) bool {
		if l := b.have[s]; l != nil && l.size == body.Size {
			l.orphan = time.Time{}
		} else {
			b.missing[s] = body.Size
		}
		return true
	})
}

// add takes in a body that is on the disk now.
func (b *bodies) add(s catalog.Sum, size int64, verified bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &local{size: size, verified: verified}
	if body, needed := b.view().Body(s); needed && body.Size == size {
		delete(b.missing, s)
	} else if !needed {
		l.orphan = b.now()
	}
	b.have[s] = l
	b.lacking.Store(int64(len(b.missing)))
}

// touch reports whether the body is here and keeps it for another grace.
func (b *bodies) touch(s catalog.Sum) (size int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.have[s]
	if l == nil {
		return 0, false
	}
	if !l.orphan.IsZero() {
		l.orphan = b.now()
	}
	return l.size, true
}

// get returns the entry, a name for this very copy, and whether it is verified.
func (b *bodies) get(s catalog.Sum) (l *local, size int64, verified bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l = b.have[s]; l == nil {
		return nil, 0, false
	}
	return l, l.size, l.verified
}

func (b *bodies) setVerified(l *local) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.verified = true
}

// lose forgets a copy. It reports whether it was still the one known.
func (b *bodies) lose(s catalog.Sum, l *local) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.have[s] != l {
		return false
	}
	delete(b.have, s)
	if body, needed := b.view().Body(s); needed {
		b.missing[s] = body.Size
	}
	b.lacking.Store(int64(len(b.missing)))
	return true
}

// dropOrphan forgets the body if it has been an orphan since before then.
func (b *bodies) dropOrphan(s catalog.Sum, before time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.have[s]
	if l == nil || l.orphan.IsZero() || !l.orphan.Before(before) {
		return false
	}
	if _, needed := b.view().Body(s); needed {
		return false
	}
	delete(b.have, s)
	return true
}

// orphans lists what dropOrphan would drop.
func (b *bodies) orphans(before time.Time) []catalog.Sum {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []catalog.Sum
	for s, l := range b.have {
		if !l.orphan.IsZero() && l.orphan.Before(before) {
			out = append(out, s)
		}
	}
	sortSums(out)
	return out
}

// lack is a body that should be here.
type lack struct {
	sum  catalog.Sum
	size int64
}

// lacks lists up to limit missing bodies for which ok is true, the number of
// all missing ones and their bytes.
func (b *bodies) lacks(limit int, ok func(catalog.Sum) bool) (out []lack, n int, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s, sz := range b.missing {
		size += sz
		if len(out) < limit && (ok == nil || ok(s)) {
			out = append(out, lack{s, sz})
		}
	}
	slices.SortFunc(out, func(x, y lack) int { return bytes.Compare(x.sum[:], y.sum[:]) })
	return out, len(b.missing), size
}

func (b *bodies) isMissing(s catalog.Sum) bool {
	if b.lacking.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.missing[s]
	return ok
}

// all lists the bodies on the disk.
func (b *bodies) all() []catalog.Sum {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]catalog.Sum, 0, len(b.have))
	for s := range b.have {
		out = append(out, s)
	}
	sortSums(out)
	return out
}

func sortSums(s []catalog.Sum) {
	slices.SortFunc(s, func(x, y catalog.Sum) int { return bytes.Compare(x[:], y[:]) })
}
