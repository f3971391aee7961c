package store

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// local is a piece on this node's disk. Its fields are guarded by bodies.mu.
type local struct {
	size     int64
	verified bool      // held to its checksums in this life of the process
	damaged  bool      // some of its units are bad: it is missing, too, until it is rebuilt
	kept     time.Time // when it came, or was last asked for
	orphan   time.Time // since when no object refers to it, or it was last asked for; zero: needed

	sole bool // one put wrote it, and no other has counted on it since
}

// bodies knows which pieces this node has, lacks and no longer needs. Its lock
// is never held over I/O: the ring's loop takes it.
type bodies struct {
	view func() *catalog.View
	self ring.NodeID
	now  func() time.Time

	mu      sync.Mutex
	have    map[catalog.Sum]*local
	missing map[catalog.Sum]piece
	gone    map[catalog.Sum]catalog.Sum // spent pieces, see spentLoop, and their objects' contents
	lacking atomic.Int64                // len(missing), for readers without the lock
}

func newBodies(view func() *catalog.View, self ring.NodeID, now func() time.Time) *bodies {
	return &bodies{view: view, self: self, now: now, have: map[catalog.Sum]*local{}, missing: map[catalog.Sum]piece{}, gone: map[catalog.Sum]catalog.Sum{}}
}

// count is to be called after each change of missing; the lock is held.
func (b *bodies) count() { b.lacking.Store(int64(len(b.missing))) }

// change takes in what the catalog says. It reports whether something is
// missing now.
func (b *bodies) change(c catalog.Change) (missing bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.count()
	if c.Reset {
		b.reset()
		return len(b.missing) > 0
	}
	pieces(c.Rec, b.self, func(p piece) {
		if c.Needed {
			missing = b.need(p) || missing
			return
		}
		if l := b.have[p.name]; l != nil {
			if l.sole && l.orphan.IsZero() && !c.Moved {
				b.gone[p.name] = c.Rec.Sum
			}
			l.orphan = b.now()
		}
		delete(b.missing, p.name)
	})
	return missing
}

// need notes that an object has the piece; it reports whether it is missing.
// The lock is held.
func (b *bodies) need(p piece) bool {
	l := b.have[p.name]
	if l != nil && l.size == p.size {
		l.orphan = time.Time{}
		delete(b.gone, p.name)
		if !l.damaged {
			return false
		}
	}
	b.missing[p.name] = p
	return true
}

// reset compares all that is here with all that the catalog names.
func (b *bodies) reset() {
	now := b.now()
	for _, l := range b.have {
		l.sole = false // what happened meanwhile is not known
		if l.orphan.IsZero() {
			l.orphan = now
		}
	}
	clear(b.missing)
	clear(b.gone)
	b.view().Bodies(nil, func(_ catalog.Sum, body catalog.Body) bool {
		pieces(body.Rec, b.self, func(p piece) { b.need(p) })
		return true
	})
}

// add takes in a piece that is on the disk now.
func (b *bodies) add(name catalog.Sum, size int64, verified bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(name, size, verified)
}

// addPut takes in a piece that a put has written. A second put of it is not the
// only one; nor is one of what an object needs.
func (b *bodies) addPut(name catalog.Sum, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.have[name]
	l := b.take(name, size, true)
	l.sole = !known && !l.orphan.IsZero()
}

// take is add with the lock.
func (b *bodies) take(name catalog.Sum, size int64, verified bool) *local {
	l := &local{size: size, verified: verified, kept: b.now()}
	if p, needed := findPiece(b.view(), name, b.self); needed && p.size == size {
		delete(b.missing, name)
	} else if !needed {
		l.orphan = b.now()
	}
	b.have[name] = l
	delete(b.gone, name)
	b.count()
	return l
}

// claim reports whether the piece is here and whole, and keeps it for a put that
// counts on it.
func (b *bodies) claim(name catalog.Sum) (size int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.have[name]; l != nil {
		l.sole = false
		delete(b.gone, name)
	}
	return b.touched(name)
}

// touch is a claim by who only reads the piece.
func (b *bodies) touch(name catalog.Sum) (size int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.touched(name)
}

// touched keeps a piece for another grace. The lock is held.
func (b *bodies) touched(name catalog.Sum) (size int64, ok bool) {
	l := b.have[name]
	if l == nil {
		return 0, false
	}
	l.kept = b.now()
	if !l.orphan.IsZero() {
		l.orphan = l.kept
	}
	return l.size, !l.damaged
}

// get returns the entry, a name for this very copy, and whether it is verified.
func (b *bodies) get(name catalog.Sum) (l *local, size int64, verified bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l = b.have[name]; l == nil {
		return nil, 0, false
	}
	return l, l.size, l.verified
}

func (b *bodies) setVerified(l *local) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.verified = true
}

// damage notes that units of a piece are bad: it stays until it is rebuilt, as
// its other units may be needed. It reports whether that is news.
func (b *bodies) damage(name catalog.Sum, l *local) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.have[name] != l || l.damaged {
		return false
	}
	l.damaged = true
	if p, needed := findPiece(b.view(), name, b.self); needed {
		b.missing[name] = p
	}
	b.count()
	return true
}

// lose forgets a copy. It reports whether it was still the one known.
func (b *bodies) lose(name catalog.Sum, l *local) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.have[name] != l {
		return false
	}
	delete(b.have, name)
	delete(b.gone, name)
	if p, needed := findPiece(b.view(), name, b.self); needed {
		b.missing[name] = p
	}
	b.count()
	return true
}

// dropOrphan forgets the piece if it has been an orphan, or spent, since before
// then.
func (b *bodies) dropOrphan(name catalog.Sum, before time.Time, spent bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.have[name]
	if l == nil || spent && !b.spentBefore(name, before) || !spent && !l.collectable(before, b.now()) {
		return false
	}
	if _, needed := findPiece(b.view(), name, b.self); needed {
		return false
	}
	delete(b.have, name)
	delete(b.gone, name)
	return true
}

// collectable reports whether no object has referred to the piece since before
// then. One that a put has just written or found stays, too, as its op may be on
// the way.
func (l *local) collectable(before, now time.Time) bool {
	return !l.orphan.IsZero() && l.orphan.Before(before) && now.Sub(l.kept) >= shortGrace
}

// spentBefore reports whether an op took the piece's object away before then.
// The lock is held.
func (b *bodies) spentBefore(name catalog.Sum, before time.Time) bool {
	_, spent := b.gone[name]
	return spent && b.have[name].orphan.Before(before)
}

// spent lists up to spentAtOnce pieces that spentBefore tells of, with their
// objects' contents.
func (b *bodies) spent(before time.Time) map[catalog.Sum]catalog.Sum {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[catalog.Sum]catalog.Sum{}
	for name, sum := range b.gone {
		if len(out) < spentAtOnce && b.spentBefore(name, before) {
			out[name] = sum
		}
	}
	return out
}

// sums counts the pieces on the disk and those of them that nobody needs.
func (b *bodies) sums() (n int, size int64, orphans int, orphanBytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.have {
		n++
		size += l.size
		if !l.orphan.IsZero() {
			orphans++
			orphanBytes += l.size
		}
	}
	return n, size, orphans, orphanBytes
}

// orphans lists what dropOrphan would drop.
func (b *bodies) orphans(before time.Time) []catalog.Sum {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []catalog.Sum
	now := b.now()
	for s, l := range b.have {
		if l.collectable(before, now) {
			out = append(out, s)
		}
	}
	sortSums(out)
	return out
}

// lacks lists up to limit missing pieces for which ok is true (here: with some
// bad units, but not gone), the number of all missing ones and their bytes.
func (b *bodies) lacks(limit int, ok func(p piece, here bool) bool) (out []piece, n int, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.missing {
		size += p.size
		if len(out) < limit && (ok == nil || ok(p, b.have[p.name] != nil)) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(x, y piece) int { return bytes.Compare(x.name[:], y.name[:]) })
	return out, len(b.missing), size
}

// repairBytes is how many bytes must come from other members to make good what
// is missing.
func (b *bodies) repairBytes() (n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.missing {
		n += p.size * int64(p.rec.K)
	}
	return n
}

func (b *bodies) isMissing(name catalog.Sum) bool {
	if b.lacking.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.missing[name]
	return ok
}

// all lists the pieces on the disk.
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
