package session

import (
	"bytes"
	"cmp"
	"net/netip"

	"rain/ring"
)

// Bounds of a table.
const (
	MaxSessions  = 10_000
	MaxItems     = 1024 // of a batch
	MaxFilm      = 64   // bytes of a film's name
	MaxRendition = 8
	maxReporters = ring.MaxMembers
)

// Entry is one session.
type Entry struct {
	ID        ID
	Film      string
	Rendition string // hls, mp4, play
	Client    netip.Addr
	Owner     ring.Member // who sends it
	OwnIndex  uint64      // index of the op or view that made Owner the owner; names this ownership
	Heard     uint64      // index of the owner's newest report; below OwnIndex: none yet
	Index     uint64      // index of anybody's newest report
	Seeks     uint32      // how often the viewer went back
	Position  uint32      // ms
	Bytes     uint64      // sent, by all nodes
	Since     uint64      // wall clock, ms
	Moves     uint32      // how often the owner changed
}

// Confirmed reports whether the owner has sent anything since it became the
// owner. An heir has not until the viewer comes to it.
func (e *Entry) Confirmed() bool { return e.Heard >= e.OwnIndex }

// Totals count what has happened since the cluster's founding.
type Totals struct {
	Begun, Ended uint64
	Taken        uint64 // sessions that got another owner because theirs left the view
	Dropped      uint64 // sessions that began above MaxSessions
	Bytes        uint64 // sent, by all sessions
}

// table is the state. It is not safe for concurrent use; Rider is.
type table struct {
	view    ring.View
	entries map[ID]*Entry
	applied map[ring.NodeID]uint64 // number of the newest batch of a node
	totals  Totals
}

func newTable() *table {
	return &table{entries: map[ID]*Entry{}, applied: map[ring.NodeID]uint64{}}
}

// Heir is who takes over a session when its owner leaves: a function of the view
// and the ID, so that all members name the same without asking, and a dead
// node's sessions spread over all that are left. Zero in an empty view.
func Heir(v ring.View, id ID) ring.Member {
	if len(v.Members) == 0 {
		return ring.Member{}
	}
	h := uint32(2166136261) // FNV-1a
	for _, b := range id {
		h = (h ^ uint32(b)) * 16777619
	}
	return v.Members[h%uint32(len(v.Members))].Member
}

// turn applies a view change.
func (t *table) turn(index uint64, v ring.View) {
	t.view = v
	for _, e := range t.entries {
		if v.Has(e.Owner) {
			continue
		}
		if heir := Heir(v, e.ID); !heir.IsZero() {
			e.Owner, e.OwnIndex = heir, index
			e.Moves++
			t.totals.Taken++
		}
	}
	if len(t.applied) > maxReporters {
		for id := range t.applied {
			if _, in := v.ByID(id); !in {
				delete(t.applied, id)
			}
		}
	}
}

// apply applies a batch; why says why nothing of it was.
func (t *table) apply(index uint64, from ring.Member, b Batch) (why string) {
	switch last := t.applied[from.ID]; {
	case !t.view.Has(from):
		return from.String() + " is not in the view"
	case b.Number <= last:
		return "" // it was applied before, and its answer lost
	}
	t.applied[from.ID] = b.Number
	for i := range b.Items {
		t.item(index, from, b.At, &b.Items[i])
	}
	return ""
}

func (t *table) item(index uint64, from ring.Member, at uint64, it *Item) {
	e := t.entries[it.ID]
	switch {
	case it.Kind == End:
		// Who wants it ended has seen it idle up to Ref: a later report keeps it.
		if e != nil && e.Owner == from && e.Index == it.Ref {
			delete(t.entries, it.ID)
			t.totals.Ended++
		}
		return
	case e == nil && it.Kind != Begin:
		return // ended meanwhile; its next report begins it anew
	case e == nil && len(t.entries) >= MaxSessions:
		t.totals.Dropped++
		return
	case e == nil:
		e = &Entry{
			ID: it.ID, Film: it.Film, Rendition: it.Rendition, Client: it.Client,
			Owner: from, OwnIndex: index, Seeks: it.Seeks, Since: at,
		}
		t.entries[it.ID] = e
		t.totals.Begun++
	case it.Kind == Claim && e.Owner != from && e.OwnIndex == it.Ref:
		e.Owner, e.OwnIndex = from, index
		e.Moves++
	}
	e.Index = index
	if e.Owner == from {
		e.Heard = index
	}
	e.Bytes += uint64(it.Bytes)
	t.totals.Bytes += uint64(it.Bytes)
	switch {
	case it.Seeks > e.Seeks: // the viewer went back
		e.Seeks, e.Position = it.Seeks, it.Position
	case it.Seeks == e.Seeks:
		e.Position = max(e.Position, it.Position)
	}
}

// list copies the entries, in no order.
func (t *table) list() []Entry {
	out := make([]Entry, 0, len(t.entries))
	for _, e := range t.entries {
		out = append(out, *e)
	}
	return out
}

func inOrder(a, b Entry) int { return bytes.Compare(a.ID[:], b.ID[:]) }

// BySince orders sessions as people want them: oldest first.
func BySince(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Since, b.Since), bytes.Compare(a.ID[:], b.ID[:]))
}
