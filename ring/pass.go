package ring

import (
	"slices"
	"time"
)

// busyAfterOp is how long after the last new op an op that is not yet on disks
// keeps the token fast; a broken disk must not keep the ring busy for ever.
const busyAfterOp = 2 * time.Second

// holdTime is how long to keep the token that was just accepted.
func (m *Machine) holdTime() time.Duration {
	n := 0
	for _, who := range m.copy.Ring {
		if !m.suspectOnToken(who) {
			n++
		}
	}
	n = max(n, 1)
	if m.working() {
		return m.t.BusyRotation / time.Duration(n)
	}
	return m.t.IdleRotation / time.Duration(n)
}

// working reports whether somebody waits for the token to go round.
func (m *Machine) working() bool {
	t := m.copy
	switch {
	case m.news || m.hurried || len(m.pending) > 0 || m.leaving || m.judged():
		return true
	case m.now >= m.busyUntil:
		return false
	}
	// Who waits until all have applied an op learns it one rotation after the
	// op has left the token, and that may be one after I saw it settled.
	return m.unsettled() || t.Seq < m.restless+3*uint64(len(t.Ring))
}

// judged reports whether a suspicion became sure in this rotation: its maker is to
// leave that member out.
func (m *Machine) judged() bool {
	t := m.copy
	return slices.ContainsFunc(t.Suspects, func(s Suspect) bool { return s.Sure && t.Seq <= s.SureAt+uint64(len(t.Ring)) })
}

// unsettled reports whether an op is still on the token or not on enough disks.
func (m *Machine) unsettled() bool {
	return m.copy.Base < m.copy.Last() || m.copy.Stable < m.copy.Last()
}

// pass adds what this member has to say and sends the token on.
func (m *Machine) pass() {
	t := m.copy
	t.Seq++
	m.clearSuspects()
	m.placeSuspects()
	m.askDoubted()
	m.passAround()
	m.appendView()
	m.appendOps()
	m.placeRow()
	m.hurried = false
	m.ackMine(t.Seq)
	m.copyStamp = t.Stamp()
	m.recount()
	m.arrived = t.Commit // whoever gets this token gets it with this commit
	m.passed, m.passedAt, m.sentLate = t.Stamp(), m.now, m.lateSum
	m.lastAt = m.now
	m.settleProposals()
	m.save(false)

	next := m.next()
	if next == m.me {
		m.passToMyself()
		return
	}
	m.holding = false
	m.starve(m.probeAfter())
	if !m.quorumOf(m.force(), t.Stable, func(who Member) bool { return !m.suspectOnToken(who) }) {
		// Those who are left could not go on: all must be asked at once.
		m.startCall(true)
		return
	}
	if m.cfg.TraceHops {
		m.trace(Trace{Kind: TracePass, Peer: next, Stamp: t.Stamp()})
	}
	out := *t
	out.Ring, out.Suspects, out.Acks, out.Rows, out.Ops = slices.Clone(t.Ring), slices.Clone(t.Suspects), slices.Clone(t.Acks), slices.Clone(t.Rows), slices.Clone(t.Ops)
	m.sent = sentToken{to: next, stamp: t.Stamp()}
	m.sent.last = !m.viewPending() && !m.newest().View.Has(m.me)
	m.sent.ref = m.sendRef(next, &out)
}

// passToMyself is the whole rotation of a view in which only this member is to
// be visited. The lease runs from now if this member alone is a quorum.
func (m *Machine) passToMyself() {
	t := m.copy
	if m.leaving && len(membersOf(m.force())) == 1 {
		m.eff.Left = true
		m.trace(Trace{Kind: TraceLeft, Stamp: t.Stamp()})
		return
	}
	alone := func(who Member) bool { return who == m.me }
	if !m.quorumOf(m.force(), t.Stable, alone) {
		// Everybody else is suspected: this token can do nothing more.
		m.holding = false
		m.starveAt = m.now
		return
	}
	if m.newest().View.Has(m.me) {
		m.lease = max(m.lease, m.now.Add(m.t.Lease))
		m.lastLease, m.isolated = m.now, false
	}
	m.news = false
	m.holding = true
	m.holdUntil = m.now.Add(m.holdTime())
}

// next is the member after this one that is to be visited.
func (m *Machine) next() Member {
	ring := m.copy.Ring
	at := slices.Index(ring, m.me)
	for i := 1; i <= len(ring); i++ {
		who := ring[(at+i)%len(ring)]
		if who != m.me && !m.suspectOnToken(who) {
			return who
		}
	}
	return m.me
}

func (m *Machine) suspectOnToken(who Member) bool {
	return slices.ContainsFunc(m.copy.Suspects, func(s Suspect) bool { return s.Member == who })
}

func (m *Machine) sureOnToken(who Member) bool {
	return slices.ContainsFunc(m.copy.Suspects, func(s Suspect) bool { return s.Member == who && s.Sure })
}

// appendView appends one view change if one is called for and none is pending.
func (m *Machine) appendView() {
	if m.viewPending() || len(m.views) == 0 {
		return
	}
	cur := m.newest().View
	gone, wait := m.toLeaveOut(cur)
	if !cur.QuorumWith(func(w Member) bool { return !slices.Contains(gone, w) }, m.tie(cur)) {
		gone = nil // the rest could never settle it
	}
	joining := m.readyJoiners()
	c := ViewChange{Wait: m.t.Wait()}
	switch {
	case len(gone) > 0:
		c.Wait = wait
		// A suspect that is back as a newer incarnation is replaced in one change.
		joining = slices.DeleteFunc(joining, func(j Member) bool {
			return !slices.ContainsFunc(gone, func(g Member) bool { return g.ID == j.ID })
		})
		if len(joining) > 0 {
			c.Wait = m.t.Wait()
		}
		c.Kind, c.Who = CauseFailed, gone
		c.View = cur.next(func(w Member) bool { return slices.Contains(gone, w) }, joining...)
	case len(joining) > 0:
		c.Kind, c.Who, c.Wait = CauseJoin, joining, 0
		for _, j := range joining {
			if _, old := cur.ByID(j.ID); old {
				c.Wait = m.t.Wait()
			}
		}
		c.View = cur.next(nil, joining...)
	case m.leaving && cur.Has(m.me) && len(cur.Members) > 1:
		// Not to somebody who was let in and never came by.
		if rest := cur.next(func(w Member) bool { return w == m.me }); m.carries(rest) {
			c.Kind, c.Who, c.Wait, c.View = CauseLeave, []Member{m.me}, 0, rest
		}
	}
	if len(c.View.Members) > 0 {
		m.lowerBase(joining)
		m.appendViewOp(c)
		m.orderJoiners(joining)
	}
}

// toLeaveOut are the members that a view change is to leave out, and how long
// what was theirs must rest. Who was passed over since this epoch was made has had
// no token of it, so the wait reckoned then still holds; its rest only the maker
// knows, and the others leave it a while to come by.
func (m *Machine) toLeaveOut(cur View) (gone []Member, wait time.Duration) {
	t := m.copy
	since := true
	for _, s := range t.Suspects {
		if !s.Sure || !cur.Has(s.Member) {
			continue
		}
		if s.Seq == 0 && m.made.epoch != t.Epoch && t.Seq < s.SureAt+2*uint64(len(t.Ring)) {
			continue
		}
		since = since && s.Seq == 0 && m.made.epoch == t.Epoch
		gone = append(gone, s.Member)
	}
	if m.moreToCome(gone) {
		return nil, 0
	}
	if since {
		return gone, max(0, m.made.wait-m.now.Sub(m.made.at))
	}
	return gone, m.t.Wait()
}

// appendViewOp puts a view change at the end of the log that I hold.
func (m *Machine) appendViewOp(c ViewChange) {
	// A number of its own: a change that was cut and is made again, with the same
	// content, is another op, and its wait is counted anew by whoever had the first.
	m.viewOps++
	e := Entry{From: m.me, Rider: RiderViews, N: m.viewOps, Data: encodeViewChange(c)}
	m.log.append(e)
	m.copy.Ops = append(m.copy.Ops, e)
	index := m.log.last()
	m.views = append(m.views, IndexedView{Index: index, Cold: c.Cold, View: c.View})
	m.firstAt[index] = m.now
	m.busyUntil = m.now.Add(busyAfterOp)
	m.trace(Trace{Kind: TraceView, View: c.View.Number, Num: int64(index), Text: causeText(c)})
	m.fixRing()
}

// orderJoiners puts those who join right after this member on the ring.
func (m *Machine) orderJoiners(joining []Member) {
	t := m.copy
	for i := len(joining) - 1; i >= 0; i-- {
		j := joining[i]
		delete(m.joiners, j.ID)
		t.Ring = slices.DeleteFunc(t.Ring, func(w Member) bool { return w == j })
		at := slices.Index(t.Ring, m.me) + 1
		t.Ring = slices.Insert(t.Ring, at, j)
	}
}

// appendOps puts this member's waiting ops on the token, as far as there is
// room.
func (m *Machine) appendOps() {
	t := m.copy
	if !m.newest().View.Has(m.me) {
		return
	}
	size := 0
	for _, e := range t.Ops {
		size += entryOverhead + len(e.Data)
	}
	for _, p := range m.pending {
		if p.index != 0 {
			continue
		}
		size += entryOverhead + len(p.data)
		if size > maxOpsBytes || len(t.Ops) >= MaxOps-16 {
			return // the rest waits for the next visit
		}
		e := Entry{From: m.me, N: p.n, Rider: p.rider, Data: p.data}
		m.log.append(e)
		t.Ops = append(t.Ops, e)
		p.index, p.placed = m.log.last(), true
		m.busyUntil = m.now.Add(busyAfterOp)
	}
}

// maxOpsBytes leaves room on the token for ring, acks and rows of MaxMembers.
const maxOpsBytes = MaxToken - 64<<10

// placeRow writes this member's load row.
func (m *Machine) placeRow() {
	t := m.copy
	i := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Member == m.me })
	switch {
	case m.row == nil:
	case i >= 0:
		t.Rows[i].Data = m.row
	default:
		t.Rows = append(t.Rows, Row{Member: m.me, Data: m.row})
	}
}

// sendDone is the transport's verdict.
func (m *Machine) sendDone(ev SendDone) {
	m.answered(ev)
	if m.call.active {
		m.callSendDone(ev)
	}
	m.coldSendDone(ev)
	if ev.Ref != m.sent.ref || ev.Ref == 0 || m.state != member {
		return
	}
	s := m.sent
	m.sent.ref = 0
	if ev.OK {
		delete(m.failed, s.to)
		m.noteReached(s.to)
		if s.last {
			m.goneBy(s.stamp)
		}
		return
	}
	if !m.holding && m.copyStamp == s.stamp {
		m.noteFailed(question{s.to, m.sentLate})
	}
	m.tokenFailed(s)
}

// tokenFailed: the token I sent may or may not have arrived. Nobody else may
// have it for sure, so whoever is to replace it asks first.
func (m *Machine) tokenFailed(s sentToken) {
	if m.holding || m.copyStamp != s.stamp {
		return // it went round: it was delivered
	}
	m.trace(Trace{Kind: TraceSendFailed, Peer: s.to, Stamp: s.stamp})
	m.startCall(true)
}

// onRefused: the receiver did not take my token.
func (m *Machine) onRefused(from Member, r Refused) {
	m.hear(r.Promised)
	if m.state != member || m.holding || m.copyStamp != r.Token || m.sent.to != from && m.sent.ref != 0 {
		return
	}
	m.trace(Trace{Kind: TraceRefused, Peer: from, Stamp: r.Token, Epoch: r.Promised})
	s := sentToken{to: from, stamp: r.Token}
	m.sent = sentToken{}
	switch {
	case r.Promised > r.Token.Epoch: // my token's time is over; nobody is to blame
	case r.Copy.Epoch == r.Token.Epoch && !r.Copy.Less(r.Token): // it was delivered before
	default:
		// It lives, and says itself that it cannot go on from here.
		m.suspicion[s.to] = m.copyStamp
		delete(m.heard, s.to)
		m.tokenFailed(s)
	}
}

// onHurry: somebody has work. The holder passes on at once, and all after it are
// told, so that none of them keeps the token for the idle time on its way to
// whoever waits for it. The word ends where it began.
func (m *Machine) onHurry() {
	if m.state != member || m.hurried {
		return
	}
	m.hurried = true
	if m.holding {
		m.holdUntil = min(m.holdUntil, m.now.Add(m.holdTime()))
		if next := m.next(); next != m.me {
			m.send(next, Hurry{Epoch: m.copyStamp.Epoch})
		}
	} else if m.sent.to != (Member{}) {
		m.send(m.sent.to, Hurry{Epoch: m.copyStamp.Epoch})
	}
}
