package ring

import (
	"maps"
	"slices"
)

// Inspection is a picture of a machine, for status pages and invariants. It
// must not be changed.
type Inspection struct {
	Me        Member
	State     string // seeking, cold, member, left
	Holding   bool
	Isolated  bool
	Joining   bool   // has a snapshot and waits to be let in
	Token     *Token // the copy; held if Holding; nil before the first
	Promised  Epoch
	Copy      Stamp
	Commit    uint64 // highest known
	Stable    uint64 // highest known
	Last      uint64 // last index in the log
	Delivered uint64
	Views     []IndexedView // in force
	Newest    View
	Settled   uint64 // number of the settled view
	Lease     Instant
	FreeAt    Instant // of all view changes delivered
	Suspects  []Member
	Pending   int // own proposals without an answer
	Seekers   []Member
	Search    *Search  // nil for a member
	Ties      []Member // of Views: whose half counts; zero: nobody's
}

// Inspect draws the picture.
func (m *Machine) Inspect() Inspection {
	in := m.Glance()
	for _, id := range slices.Sorted(maps.Keys(m.seek.seekers)) {
		in.Seekers = append(in.Seekers, m.seek.seekers[id].who)
	}
	in.Search = m.search()
	for _, v := range in.Views {
		in.Ties = append(in.Ties, m.tie(v.View))
	}
	return in
}

// Glance is the picture without Seekers, Search and Ties, which have to be gathered:
// for who looks after every step.
func (m *Machine) Glance() Inspection {
	in := Inspection{
		Me: m.me, State: m.state.String(), Holding: m.holding, Isolated: m.isolated, Joining: m.seek.adopted && m.state == seeking,
		Token: m.copy, Promised: m.promised, Copy: m.copyStamp, Commit: m.commit, Stable: m.stable,
		Last: m.log.last(), Delivered: m.delivered, Views: m.force(), Newest: m.newest().View,
		Settled: m.settled().View.Number, Lease: m.lease, FreeAt: m.freeAt, Pending: len(m.pending),
	}
	if m.copy != nil {
		for _, s := range m.copy.Suspects {
			in.Suspects = append(in.Suspects, s.Member)
		}
	}
	return in
}

// Entry returns the op at an index, if the log still holds it.
func (m *Machine) Entry(index uint64) (Entry, bool) { return m.log.at(index) }
