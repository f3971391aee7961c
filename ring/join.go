package ring

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// joiner is a node that has a snapshot and waits to be let in.
type joiner struct {
	who   Member
	index uint64
	at    Instant
}

// seeker is another node that is no member, as it showed itself.
type seeker struct {
	who  Member
	seek Seek
	at   Instant
}

// seekState is what a node without a view does to find one.
type seekState struct {
	since     Instant // looking since then; cold starts count from here
	next      Instant // when to ask again
	welcome   Instant // last sign of a primary
	seekers   map[NodeID]seeker
	fetching  Member
	fetchAt   Instant
	adopted   bool // a snapshot is restored: only the token is missing
	adoptedAt Instant
	tainted   bool    // this incarnation voted in a cold start: it joins nobody
	unfit     Instant // until then it votes in none: it could not get the maker's log
	unfits    int     // how often that was so
	maxGen    uint32  // highest generation heard of
}

// seekEvery is how often all others are asked. The time grows with their number,
// so that a node without a view sends the same however many there are, and ten
// that seek at once do not drown what they seek.
func (m *Machine) seekEvery() time.Duration {
	const atOnce = 4
	n := max(m.others, len(m.newest().View.Members)-1)
	return m.t.StarveTimeout / 2 * time.Duration(max(1, (n+atOnce-1)/atOnce))
}

// start reads the disk: its log up to stable is delivered, so that an isolated
// node has something to show, and the search for a primary begins.
func (m *Machine) start() {
	d := m.cfg.Disk
	m.log = opLog{base: d.Header.Index}
	m.views = slices.Clone(d.Header.Views)
	m.delivered = d.Header.Index
	if len(m.views) > 0 {
		// The snapshot under the log is restored: what follows in the log was
		// decided in its view.
		m.freeAt = m.now.Add(m.t.Wait())
		m.tellRestored(d.Header.Index)
	}
	for _, e := range d.Entries {
		m.log.append(e)
		if e.Rider != RiderViews {
			continue
		}
		if c, err := ParseViewChange(e.Data); err == nil {
			m.views = append(m.views, IndexedView{Index: m.log.last(), Cold: c.Cold, View: c.View})
		}
	}
	m.stable = max(d.Header.Stable, min(d.Stable, m.log.last()))
	m.commit = max(m.stable, m.delivered)
	m.saved.from = m.log.last() + 1
	m.cold.promise = d.Promise
	m.deliver(m.commit)
	m.beginSeek(0)
}

func (m *Machine) beginSeek(wait time.Duration) {
	m.state = seeking
	m.seek.since = m.now.Add(wait)
	m.seek.next = m.now
	m.trace(Trace{Kind: TraceSeek, Epoch: m.cfg.Disk.Stamp.Epoch, Num: int64(m.log.last())})
}

// seekTimers asks around, and thinks of a cold start when nobody answers.
func (m *Machine) seekTimers() {
	s := &m.seek
	if m.now < s.next {
		return
	}
	s.next = m.now.Add(m.seekEvery())
	if s.adopted && m.now.Sub(s.adoptedAt) > max(10*m.t.StarveTimeout, 8*m.seekEvery()) {
		// The snapshot may be too old by now, and what it replaced here is gone:
		// only a new life has the disk's own log to vote with.
		m.restart("not let in")
		return
	}
	if !s.fetching.IsZero() && m.now.Sub(s.fetchAt) > fetchTimeout {
		s.fetching = Member{}
	}
	msg := m.seekMessage()
	for _, id := range m.seekIDs() {
		m.send(Member{ID: id}, msg)
	}
	m.tryCold()
}

// fetchTimeout is when a fetch that did not answer is given up.
const fetchTimeout = 60 * time.Second

func (m *Machine) seekMessage() Seek {
	d := m.cfg.Disk
	msg := Seek{DiskEpoch: d.Stamp.Epoch, DiskLast: m.diskLast(), Promise: m.cold.promise, Founder: slices.Contains(m.cfg.Founders, m.me.ID), Lease: m.terms()}
	if m.seek.adopted || m.cold.adopted {
		msg.Generation, msg.Index = m.copyStamp.Epoch.Generation(), m.delivered
	}
	return msg
}

func (m *Machine) diskLast() uint64 {
	return m.cfg.Disk.Header.Index + uint64(len(m.cfg.Disk.Entries))
}

// seekIDs are all ids that may know of a primary.
func (m *Machine) seekIDs() []NodeID {
	ids := map[NodeID]bool{}
	for _, id := range m.cfg.Founders {
		ids[id] = true
	}
	for _, id := range m.cfg.Peers {
		ids[id] = true
	}
	for _, v := range m.views {
		for _, w := range v.View.Members {
			ids[w.ID] = true
		}
	}
	for id := range m.seek.seekers {
		ids[id] = true
	}
	delete(ids, m.me.ID)
	return slices.Sorted(maps.Keys(ids))
}

// onSeek meets a node that is no member.
func (m *Machine) onSeek(from Member, s Seek) {
	m.seek.maxGen = max(m.seek.maxGen, s.DiskEpoch.Generation(), s.Promise.Generation())
	switch m.state {
	case member:
		m.meetJoiner(from, s)
	case cold:
		m.coldReady(from, s)
		fallthrough
	case seeking:
		if len(m.seek.seekers) < maxSeekers {
			m.seek.seekers[from.ID] = seeker{who: from, seek: s, at: m.now}
		}
	}
}

func (m *Machine) meetJoiner(from Member, s Seek) {
	for _, v := range m.force() {
		old, ok := v.View.ByID(from.ID)
		switch {
		case !ok:
		case old.Inc > from.Inc:
			m.send(from, Welcome{Copy: m.copyStamp, View: v.View.Number, Lease: m.terms(), Above: old.Inc})
			return
		case old.Inc == from.Inc:
			return // let in already; the token is on its way
		case !m.sureOnToken(old.Member):
			// Its older life is over: nobody need find that out by waiting.
			if _, ok := m.suspicion[old.Member]; !ok {
				m.suspicion[old.Member] = m.copyStamp
			}
			delete(m.heard, old.Member)
		}
	}
	if m.now >= m.lease || !m.newest().View.Has(m.me) {
		return // not for sure in the primary: say nothing
	}
	if s.Generation == 0 || s.Generation != m.copyStamp.Epoch.Generation() || s.Lease != m.terms() {
		m.send(from, Welcome{Copy: m.copyStamp, View: m.newest().View.Number, Lease: m.terms()})
		return
	}
	if len(m.joiners) < maxSeekers {
		m.joiners[from.ID] = joiner{who: from, index: s.Index, at: m.now}
		m.hurried = true
	}
}

// readyJoiners are those that may be let in now.
func (m *Machine) readyJoiners() []Member {
	if m.now >= m.lease && len(m.newest().View.Members) > 1 {
		return nil
	}
	var out []Member
	cur := m.newest().View
	for _, id := range slices.Sorted(maps.Keys(m.joiners)) {
		j := m.joiners[id]
		old, known := cur.ByID(id)
		switch {
		case m.now.Sub(j.at) > max(4*m.t.StarveTimeout, 3*m.seekEvery()) || known && old.Inc >= j.who.Inc:
			delete(m.joiners, id)
		case j.index < m.log.base || j.index > m.log.last() || m.bytesFrom(j.index) > maxOpsBytes/2:
			m.send(j.who, Welcome{Copy: m.copyStamp, View: cur.Number, Lease: m.terms()}) // fetch anew
			delete(m.joiners, id)
		default:
			if next := cur.next(nil, append(out, j.who)...); m.carries(next) && (known || len(next.Members) <= MaxMembers/2) {
				out = append(out, j.who)
			}
		}
	}
	return out
}

// carries reports whether those who came by in the view of today are a quorum of the
// next one; who is new in it must have it on disk. Who was let in and never came by
// has no disk that could vote: were it counted, a member that is cut off could let
// in more than it can do without, and no restart would ever bring the ring back.
func (m *Machine) carries(next View) bool {
	today := m.newest()
	here := func(w Member) bool {
		a, in := ackValue(m.copy, w), today.View.Has(w)
		if vm, _ := today.View.ByID(w.ID); vm.Since == today.View.Number {
			return in && a.Dur >= today.Index
		}
		return in && a.Ack >= today.Index
	}
	if m.cfg.Policy == PolicyWitness && next.half(here) {
		return true // the witness may be asked for it
	}
	return next.QuorumWith(here, next.Distinguished())
}

func (m *Machine) bytesFrom(index uint64) int {
	n := 0
	for _, e := range m.log.from(index) {
		n += entryOverhead + len(e.Data)
	}
	return n
}

// lowerBase puts on the token again what the joiners lack. It is committed, and
// the others skip it.
func (m *Machine) lowerBase(joining []Member) {
	t := m.copy
	base := t.Base
	for _, who := range joining {
		base = min(base, m.joiners[who.ID].index)
	}
	if base < t.Base {
		t.Base, t.Ops = base, slices.Clone(m.log.from(base))
	}
}

// onWelcome: there is a primary. Get its state.
func (m *Machine) onWelcome(from Member, w Welcome) {
	s := &m.seek
	switch {
	case w.Lease != m.terms():
		// With two leases in one ring "its lease is over by now" would be false.
		text := fmt.Sprintf("this node's lease is %v, the cluster's %v: set the cluster's preset in this node's file", m.t.Lease, w.Lease.Truncate(time.Microsecond))
		if w.Lease.Truncate(time.Microsecond) == m.t.Lease {
			text = "this node's policy differs from the cluster's: set the cluster's policy in this node's file"
		}
		m.trace(Trace{Kind: TraceOtherLease, Peer: from, Num: int64(w.Lease), Text: text})
	case w.Above != 0 && w.Above >= m.me.Inc && m.state != member:
		m.eff.AboveInc = w.Above
		m.restart("incarnation known already")
	case m.state == cold && from != m.cold.maker:
		m.restart("found a primary during a cold start")
	case m.state != seeking:
	case s.tainted:
		m.restart("voted in a cold start, and found a primary")
	default:
		s.welcome = m.now
		if s.adopted && m.now.Sub(s.adoptedAt) < m.t.StarveTimeout || !s.fetching.IsZero() {
			return
		}
		m.trace(Trace{Kind: TraceWelcome, Peer: from, Stamp: w.Copy, View: w.View})
		m.fetch(from)
	}
}

func (m *Machine) fetch(from Member) {
	m.seek.fetching, m.seek.fetchAt = from, m.now
	m.eff.Fetch = &from
}

// fetched: the snapshot is here, or not.
func (m *Machine) fetched(ev Fetched) {
	if ev.From != m.seek.fetching || m.state != seeking && m.state != cold {
		return
	}
	m.seek.fetching = Member{}
	h := ev.Header
	if ev.Err || h.Stamp.Epoch < m.promised || h.Stamp.Epoch == 0 {
		m.coldUnfetched()
		return
	}
	if m.state == cold {
		if m.cold.amMaker || h.Stamp.Epoch != m.cold.epoch {
			return
		}
		m.adopt(h)
		m.cold.adopted = true
		m.send(m.cold.maker, m.seekMessage())
		return
	}
	m.adopt(h)
	m.seek.adopted, m.seek.adoptedAt = true, m.now
	m.seek.next = m.now // show it at once
}

// adopt makes a snapshot my state. The disk keeps what it has until the first
// token is accepted.
func (m *Machine) adopt(h SnapshotHeader) {
	m.trace(Trace{Kind: TraceAdopt, Stamp: h.Stamp, Num: int64(h.Index)})
	m.eff.Adopt = true
	m.log = opLog{base: h.Index}
	m.views = slices.Clone(h.Views)
	m.firstAt = map[uint64]Instant{}
	m.delivered, m.commit, m.stable = h.Index, h.Index, min(h.Stable, h.Index)
	m.copy = &Token{Epoch: h.Stamp.Epoch, Seq: h.Stamp.Seq, Base: h.Index, Commit: h.Index, Stable: m.stable}
	m.copyStamp = h.Stamp
	m.promised, m.promisedTo = max(m.promised, h.Stamp.Epoch), Member{}
	m.heardEpoch = h.Stamp.Epoch
	m.freeAt = m.now.Add(m.t.Wait())
	m.saved = saveState{from: h.Index + 1, replace: true, header: h}
	if len(m.views) > 0 {
		m.tellRestored(h.Index)
	}
}

// tellRestored tells riders that were restored from a snapshot its view.
func (m *Machine) tellRestored(index uint64) {
	m.eff.Deliver = append(m.eff.Deliver, Delivery{
		Index: index, Rider: RiderViews, View: m.newest().View, FreeAt: m.freeAt, Cause: "restored from a snapshot",
	})
}

// Header describes a snapshot of the riders as delivered so far. ok is false
// while nobody should take one from this member.
func (m *Machine) Header() (h SnapshotHeader, ok bool) {
	if m.state != member && !(m.state == cold && m.cold.amMaker && m.cold.made) {
		return SnapshotHeader{}, false
	}
	h = SnapshotHeader{Stamp: m.copyStamp, Index: m.delivered, Stable: min(m.tokStable(), m.delivered)}
	for _, v := range m.views {
		if v.Index <= m.delivered {
			h.Views = append(h.Views, v)
		}
	}
	if n := len(h.Views); n > 2 {
		h.Views = h.Views[n-2:]
	}
	h.Views = slices.Clone(h.Views)
	return h, true
}
