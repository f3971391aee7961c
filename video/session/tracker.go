package session

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rain/ring"
)

// Config is what an operator may set.
type Config struct {
	// IdleAfter is after how long without a report a session ends. Default 30s:
	// longer than a player with a full buffer is silent. Longer keeps viewers
	// that have gone in the list.
	IdleAfter time.Duration
	// ClaimAfter is for how long a session's owner must have been silent before
	// another node that sends the session becomes its owner. Default 3s, about a
	// segment: shorter makes the owner change when a player asks two nodes in turn.
	ClaimAfter time.Duration
}

// DefaultConfig has the documented defaults.
func DefaultConfig() Config {
	return Config{IdleAfter: 30 * time.Second, ClaimAfter: 3 * time.Second}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.IdleAfter < time.Second {
		errs = append(errs, fmt.Errorf("video session: idle_after is %v; at least 1s is needed", c.IdleAfter))
	}
	if c.ClaimAfter <= 0 || c.ClaimAfter > c.IdleAfter {
		errs = append(errs, fmt.Errorf("video session: claim_after is %v; must be above 0 and at most idle_after, %v", c.ClaimAfter, c.IdleAfter))
	}
	return errors.Join(errs...)
}

// maxBatch bounds an op's bytes; what does not fit goes with the next one.
const maxBatch = ring.MaxOp * 3 / 4

// Hit is a request of a viewer.
type Hit struct {
	ID        ID
	Film      string
	Rendition string
	Client    netip.Addr
	Position  uint32 // ms
	// Slack is by how much (ms) a request may be behind the newest one and be no
	// seek: players repeat requests, and have several under way.
	Slack uint32
}

// Tracker is what this node knows of those that it sends films to and has not
// told the others. It gathers for a Batch a second. All methods may be called
// from anywhere; now must not go back.
type Tracker struct {
	cfg   Config
	self  func() ring.Member
	rider *Rider

	mu      sync.Mutex
	local   map[ID]*local
	idle    map[ID]idle // of the sessions that this node owns
	pending []byte      // a batch whose outcome is not known
	lost    uint64      // hits above MaxSessions
}

// local is one session as this node serves it.
type local struct {
	film, rendition string
	client          netip.Addr
	seeks, position uint32
	bytes           uint64 // not told yet
	dirty           bool
	at              ring.Instant // newest hit
	waits           ring.Instant // since when there is something to tell
	owner           ring.Member
	heard           uint64       // Entry.Heard
	heardAt         ring.Instant // when it was seen to change
}

type idle struct {
	index uint64
	since ring.Instant
}

// NewTracker makes a tracker; self is this node now.
func NewTracker(cfg Config, rider *Rider, self func() ring.Member) (*Tracker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Tracker{cfg: cfg, self: self, rider: rider, local: map[ID]*local{}, idle: map[ID]idle{}}, nil
}

// Watch takes in a request. What is sent for it is told to Sent with the number
// that comes back: it tells requests before a seek from those after it.
func (t *Tracker) Watch(now ring.Instant, h Hit) (seeks uint32) {
	e, known := t.rider.Find(h.ID)
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.local[h.ID]
	if l == nil {
		if len(t.local) >= MaxSessions {
			t.lost++
			return 0
		}
		l = &local{film: cut(h.Film, MaxFilm), rendition: cut(h.Rendition, MaxRendition), client: h.Client.Unmap().WithZone(""), heardAt: now}
		t.local[h.ID] = l
	}
	if known && e.Seeks >= l.seeks { // else this node knows of a newer seek than the others
		if e.Seeks > l.seeks {
			l.seeks, l.position = e.Seeks, 0
		}
		l.position = max(l.position, e.Position)
	}
	if uint64(h.Position)+uint64(h.Slack) < uint64(l.position) {
		l.seeks++
		l.position = h.Position
	}
	l.position = max(l.position, h.Position)
	l.touch(now)
	return l.seeks
}

// cut is never needed for what this package's callers say; it keeps a mistake of
// theirs from making an op that nobody can read.
func cut(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}

func (l *local) touch(now ring.Instant) {
	l.at = now
	if !l.dirty {
		l.dirty, l.waits = true, now
	}
}

// Sent takes in that bytes were sent for a request, up to a position.
func (t *Tracker) Sent(now ring.Instant, id ID, seeks, position uint32, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.local[id]
	if l == nil || bytes < 0 {
		return
	}
	l.bytes += uint64(bytes)
	if seeks == l.seeks {
		l.position = max(l.position, position)
	}
	l.touch(now)
}

// Tick returns the op to propose now, nil for none. Until Done it returns the
// same one: it counts once, however often it is proposed. at is the wall clock.
func (t *Tracker) Tick(now ring.Instant, at time.Time) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending != nil {
		return t.pending
	}
	b := Batch{Number: t.rider.Applied(t.self().ID) + 1, At: uint64(max(0, at.UnixMilli()))}
	entries := t.rider.Entries()
	byID := make(map[ID]*Entry, len(entries))
	for i := range entries {
		byID[entries[i].ID] = &entries[i]
	}
	size := 0
	add := func(it Item) bool {
		n := len(it.append(nil))
		if len(b.Items) == MaxItems || size+n > maxBatch {
			return false
		}
		b.Items, size = append(b.Items, it), size+n
		return true
	}
	t.report(now, byID, add)
	t.end(now, entries, add)
	if len(b.Items) > 0 {
		t.pending = b.Append(nil)
	}
	return t.pending
}

// report adds what there is to tell, who waits longest first, and forgets who
// has gone.
func (t *Tracker) report(now ring.Instant, byID map[ID]*Entry, add func(Item) bool) {
	var dirty []ID
	for id, l := range t.local {
		if e := byID[id]; e != nil && (e.Heard != l.heard || e.Owner != l.owner) {
			l.owner, l.heard, l.heardAt = e.Owner, e.Heard, now
		}
		switch {
		case l.dirty:
			dirty = append(dirty, id)
		case now.Sub(l.at) > t.cfg.IdleAfter:
			delete(t.local, id)
		}
	}
	slices.SortFunc(dirty, func(a, b ID) int {
		return cmp.Or(cmp.Compare(t.local[a].waits, t.local[b].waits), bytes.Compare(a[:], b[:]))
	})
	for _, id := range dirty {
		l := t.local[id]
		part := min(l.bytes, math.MaxUint32)
		it := Item{Kind: Report, ID: id, Seeks: l.seeks, Position: l.position, Bytes: uint32(part)}
		switch e := byID[id]; {
		case e == nil:
			it.Kind, it.Film, it.Rendition, it.Client = Begin, l.film, l.rendition, l.client
		case e.Owner == t.self():
		case !e.Confirmed() || now.Sub(l.heardAt) >= t.cfg.ClaimAfter:
			it.Kind, it.Ref = Claim, e.OwnIndex
		}
		if !add(it) {
			return
		}
		l.bytes -= part
		l.dirty = l.bytes > 0
	}
}

// end adds the ends of this node's sessions that nobody has told of for long.
func (t *Tracker) end(now ring.Instant, entries []Entry, add func(Item) bool) {
	mine := make(map[ID]idle, len(t.idle))
	for i := range entries {
		e := &entries[i]
		if e.Owner != t.self() {
			continue
		}
		was, ok := t.idle[e.ID]
		if !ok || was.index != e.Index {
			was = idle{e.Index, now}
		}
		mine[e.ID] = was
		if l := t.local[e.ID]; now.Sub(was.since) >= t.cfg.IdleAfter && (l == nil || now.Sub(l.at) >= t.cfg.IdleAfter) {
			add(Item{Kind: End, ID: e.ID, Ref: e.Index}) // without room: at the next tick
		}
	}
	t.idle = mine
}

// Done says that the pending op was applied, or can never be.
func (t *Tracker) Done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = nil
}

// Lost counts the requests of sessions that this node had no room to follow.
func (t *Tracker) Lost() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}
