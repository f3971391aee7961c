package ring

import (
	"fmt"
	"maps"
	"slices"
)

// onToken accepts a token or says why not.
func (m *Machine) onToken(from Member, t *Token) {
	added, why := m.check(t)
	if why != "" {
		m.trace(Trace{Kind: TraceRefuse, Peer: from, Stamp: t.Stamp(), Epoch: m.promised, Text: why})
		m.hear(t.Epoch)
		m.send(from, Refused{Token: t.Stamp(), Promised: m.promised, Copy: m.copyStamp})
		return
	}
	m.accept(from, t, added)
}

// check says why a token is not acceptable; else it returns the view changes
// that it brings beyond its base.
func (m *Machine) check(t *Token) (added []IndexedView, why string) {
	switch {
	case m.copy == nil || m.state == seeking && !m.seek.adopted:
		return nil, "no member and no snapshot"
	case m.state == cold && !m.cold.adopted:
		return nil, "cold start not ready"
	case t.Epoch < m.promised:
		return nil, "epoch below the promised one"
	case t.Epoch.Generation() != m.copyStamp.Epoch.Generation():
		return nil, "another generation"
	case !m.copyStamp.Less(t.Stamp()):
		return nil, "not newer than my copy"
	case t.Base > m.log.last():
		return nil, "gap below its base"
	case t.Last() < m.delivered:
		return nil, "ends before what was delivered"
	}
	for i := range t.Ops {
		index := t.Base + uint64(i) + 1
		e := t.Ops[i]
		if old, ok := m.log.at(index); ok && index <= m.delivered && !sameOp(e, old) {
			m.trace(Trace{Kind: TraceCheckFailed, Stamp: t.Stamp(), Num: int64(index), Text: "token contradicts a delivered op"})
			return nil, "contradicts a delivered op"
		}
		if e.Rider != RiderViews {
			continue
		}
		c, err := ParseViewChange(e.Data)
		if err != nil {
			return nil, "malformed view change"
		}
		added = append(added, IndexedView{Index: index, Cold: c.Cold, View: c.View})
	}
	f := inForce(joinViews(m.views, t.Base, added), t.Stable)
	for _, v := range f {
		if v.View.Has(m.me) {
			return added, ""
		}
	}
	return nil, "not a member of its views"
}

// joinViews is the list of views after a token: mine up to its base, then its
// own.
func joinViews(mine []IndexedView, base uint64, added []IndexedView) []IndexedView {
	n := 0
	for n < len(mine) && mine[n].Index <= base {
		n++
	}
	return append(mine[:n:n], added...) // never into mine
}

func (m *Machine) accept(from Member, t *Token, added []IndexedView) {
	first := m.state != member
	waited := m.viewPending()
	changed := m.takeLog(t, added)
	newEpoch := t.Epoch != m.copyStamp.Epoch
	m.news = first || changed || newEpoch || t.Commit > m.commit || t.Stable > m.stable
	m.promised, m.promisedTo = t.Epoch, Member{}
	m.hear(t.Epoch)
	m.copy, m.copyStamp = t, t.Stamp()
	m.lastAt = m.now
	m.call = call{}
	m.behindUntil = 0
	m.sent = sentToken{}
	m.holding = true
	m.noteRotation()
	m.noteAlive()
	m.noteAround()
	if m.cfg.TraceHops {
		m.trace(Trace{Kind: TraceAccept, Peer: from, Stamp: t.Stamp()})
	}
	m.state = member
	if first {
		m.cold = coldState{promise: m.cold.promise}
		m.seek = seekState{seekers: map[NodeID]seeker{}, maxGen: m.seek.maxGen}
		m.tries = 0
		m.trace(Trace{Kind: TraceMember, Stamp: t.Stamp(), View: m.newest().View.Number})
		m.lastLease, m.isolated = m.now, false // isolation counts from here
	}
	m.arrived = t.Commit
	if m.unsettled() {
		m.restless = t.Seq
	}
	m.ackMine(t.Seq)
	m.recount()
	m.confirmLease()
	m.settleProposals()
	if waited && !m.viewPending() {
		m.saved.stable = true // every disk must know that the view before is history
	}
	m.save(first && m.saved.replace)
	m.holdUntil = m.now.Add(m.holdTime())
}

// takeLog makes my log the token's. It reports whether anything was new.
func (m *Machine) takeLog(t *Token, added []IndexedView) (changed bool) {
	// The part of the token's ops that I have already is kept as it is.
	i := t.Base
	for i < t.Last() {
		old, ok := m.log.at(i + 1)
		if i+1 <= m.log.base || ok && sameOp(old, t.Ops[i-t.Base]) {
			i++
			continue
		}
		break
	}
	if m.log.last() > i {
		m.trace(Trace{Kind: TraceCutOps, Stamp: t.Stamp(), Num: int64(m.log.last() - i)})
		m.cutLog(i)
		changed = true
	}
	for ; i < t.Last(); i++ {
		m.log.append(t.Ops[i-t.Base])
		m.busyUntil = m.now.Add(busyAfterOp)
		changed = true
	}
	known := m.newest().Index
	for _, v := range added {
		if v.Index > known {
			m.views = append(m.views, v)
			m.firstAt[v.Index] = m.now
		}
	}
	if changed {
		m.placeProposals()
	}
	return changed
}

// cutLog drops all ops above index and what rested on them.
func (m *Machine) cutLog(index uint64) {
	m.log.cut(index)
	m.saved.from = min(m.saved.from, index+1)
	for len(m.views) > 0 && m.newest().Index > index {
		delete(m.firstAt, m.newest().Index)
		m.views = m.views[:len(m.views)-1]
	}
	// What a disk holds above the cut is of an older epoch: it never counts
	// again, because durIndex belongs to an epoch and no epoch cuts itself.
}

// ackMine writes on the token what I hold, and that I have seen seq.
func (m *Machine) ackMine(seq uint64) {
	a := m.ackOf(m.me)
	a.Ack = m.log.last()
	a.Seen = seq
	a.Dur = 0
	if m.durEpoch == m.copy.Epoch {
		a.Dur = min(m.durIndex, m.log.last())
	}
}

func (m *Machine) ackOf(who Member) *Ack {
	for i := range m.copy.Acks {
		if m.copy.Acks[i].Member == who {
			return &m.copy.Acks[i]
		}
	}
	m.copy.Acks = append(m.copy.Acks, Ack{Member: who})
	return &m.copy.Acks[len(m.copy.Acks)-1]
}

// ackValue reads without adding.
func ackValue(t *Token, who Member) Ack {
	for _, a := range t.Acks {
		if a.Member == who {
			return a
		}
	}
	return Ack{Member: who}
}

// recount raises commit, stable and base of the token I hold to what its acks
// say, and delivers.
func (m *Machine) recount() {
	t := m.copy
	for {
		before := [2]uint64{t.Commit, t.Stable}
		t.Commit = m.highest(t, t.Commit, func(a Ack) uint64 { return a.Ack })
		was := m.viewPending()
		t.Stable = m.highest(t, t.Stable, func(a Ack) uint64 { return min(a.Dur, t.Commit) })
		if was && !m.viewPending() {
			m.viewSettled()
		}
		if before == [2]uint64{t.Commit, t.Stable} {
			break
		}
	}
	force := m.force()
	base := t.Commit
	for _, who := range membersOf(force) {
		base = min(base, ackValue(t, who).Ack)
	}
	if base > t.Base {
		t.Ops = t.Ops[base-t.Base:]
		t.Base = base
	}
	m.commit = max(m.commit, t.Commit)
	m.stable = max(m.stable, t.Stable)
	m.deliver(m.commit)
	m.log.trim(min(t.Base, m.delivered, m.saved.from-1))
	m.forgetViews()
}

// highest is the largest index that a quorum has acknowledged, at least floor.
func (m *Machine) highest(t *Token, floor uint64, of func(Ack) uint64) uint64 {
	force := inForce(m.views, t.Stable)
	best := floor
	for _, a := range t.Acks {
		n := of(a)
		if n > best && m.quorumOf(force, t.Stable, func(who Member) bool { return of(ackValue(t, who)) >= n }) {
			best = n
		}
	}
	return best
}

// viewSettled runs at the holder that sees the pending view settled.
func (m *Machine) viewSettled() {
	v := m.newest()
	m.trace(Trace{Kind: TraceSettled, View: v.View.Number, Stamp: m.copyStamp})
	if len(m.views) >= 2 {
		for _, old := range m.views[len(m.views)-2].View.Members {
			if _, still := v.View.ByID(old.ID); !still && old.Member != m.me {
				m.send(old.Member, Out{View: v.View})
			}
		}
	}
	m.saved.stable = true
	m.fixRing()
}

// forgetViews drops views that nobody can ask for any more.
func (m *Machine) forgetViews() {
	const keep = 4
	for len(m.views) > keep && m.views[1].Index <= m.log.base {
		delete(m.firstAt, m.views[0].Index)
		m.views = m.views[1:]
	}
}

// fixRing makes the token's order hold exactly the members of the views in
// force, and drops what it says of others.
func (m *Machine) fixRing() {
	t := m.copy
	in := membersOf(m.force())
	gone := func(who Member) bool { return !slices.Contains(in, who) }
	t.Ring = slices.DeleteFunc(t.Ring, gone)
	for _, who := range in {
		if !slices.Contains(t.Ring, who) {
			t.Ring = append(t.Ring, who)
		}
	}
	t.Suspects = slices.DeleteFunc(t.Suspects, func(s Suspect) bool { return gone(s.Member) })
	t.Acks = slices.DeleteFunc(t.Acks, func(a Ack) bool { return gone(a.Member) })
	t.Rows = slices.DeleteFunc(t.Rows, func(r Row) bool { return gone(r.Member) })
	maps.DeleteFunc(m.suspicion, func(who Member, _ Stamp) bool { return gone(who) })
	maps.DeleteFunc(m.heard, func(who Member, _ Stamp) bool { return gone(who) })
	maps.DeleteFunc(m.failed, func(who Member, _ failure) bool { return gone(who) })
	maps.DeleteFunc(m.heardAt, func(who Member, _ Instant) bool { return gone(who) })
	maps.DeleteFunc(m.alive, func(who Member, _ life) bool { return gone(who) })
	maps.DeleteFunc(m.convinced, func(who Member, _ bool) bool { return gone(who) })
	maps.DeleteFunc(m.askedAt, func(who Member, _ Instant) bool { return gone(who) })
}

// deliver hands the log up to index to the shell.
func (m *Machine) deliver(index uint64) {
	for m.delivered < index {
		e, ok := m.log.at(m.delivered + 1)
		if !ok {
			panic(fmt.Sprintf("ring: op %d is not in the log %d..%d", m.delivered+1, m.log.base+1, m.log.last())) // a bug here
		}
		m.delivered++
		d := Delivery{Index: m.delivered, From: e.From, Rider: e.Rider, N: e.N, Data: e.Data}
		if e.Rider == RiderViews {
			c, err := ParseViewChange(e.Data)
			if err != nil {
				panic(err) // checked when it was accepted
			}
			at, ok := m.firstAt[d.Index]
			if !ok {
				at = m.now
			}
			m.freeAt = max(m.freeAt, at.Add(c.Wait))
			d.View, d.FreeAt, d.Cause = c.View, m.freeAt, causeText(c)
			m.trace(Trace{Kind: TraceView, View: c.View.Number, Num: int64(d.Index), Text: "delivered: " + d.Cause})
		}
		m.eff.Deliver = append(m.eff.Deliver, d)
	}
}

// confirmLease renews the lease if the token came back, in its epoch, with a
// quorum that has seen it after my last pass.
func (m *Machine) confirmLease() {
	t := m.copy
	if m.passed.Epoch != t.Epoch || !m.newest().View.Has(m.me) {
		return
	}
	seen := func(who Member) bool { return ackValue(t, who).Seen > m.passed.Seq }
	if m.quorumOf(m.force(), t.Stable, seen) {
		m.lease = max(m.lease, m.passedAt.Add(m.t.Lease))
		m.lastLease, m.isolated = m.now, false
	}
}

// hear remembers the highest epoch of my generation.
func (m *Machine) hear(e Epoch) {
	if e.Generation() == m.copyStamp.Epoch.Generation() {
		m.heardEpoch = max(m.heardEpoch, e)
	}
}
