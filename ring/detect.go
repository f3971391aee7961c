package ring

import (
	"slices"
	"time"
)

// Detection has two kinds. Aggressive: one failed message, and the member is
// left out. Conservative, the default: the first failure is a doubt. Who is
// doubted is passed over at once, one place back in the order, and each holder
// asks it; a sign of life to any of them ends the doubt, and the token goes there
// from the one who heard it (ABCD becomes ACBD). Only the failure of a second
// sender makes it sure, or the second of the only one there is to send; and not
// before the member has been silent for nearly a lease: nothing that it had may be
// touched before its lease and an eighth are over, so nothing is lost by waiting.

// failure is what I know of a member that my messages do not reach.
type failure struct {
	n      int // in a row
	late   int // failures that may be my own fault, in a row
	at     Instant
	stamp  Stamp // of my copy then
	placed bool  // told on the token
	around bool  // the token tells that it lives: others reach it, I do not
	again  bool  // that was so before this failure; the next token tells
}

// life is the last proof that a member is there and hears: a token that it has had,
// or its receipt for a message of mine. What merely comes from it may be the word of
// one who is deaf.
type life struct {
	seen Stamp // the newest token that it has had
	at   Instant
	late time.Duration // lateSum then
}

// question is a message whose verdict tells whether a member is in reach.
type question struct {
	who  Member
	late time.Duration // lateSum when it was sent
}

// ask sends a message and learns from its verdict.
func (m *Machine) ask(who Member, msg Message) (ref uint64) {
	ref = m.sendRef(who, msg)
	m.asked[ref] = question{who, m.lateSum}
	m.askedAt[who] = m.now
	return ref
}

// answered takes the verdict on a question.
func (m *Machine) answered(ev SendDone) {
	q, ok := m.asked[ev.Ref]
	if !ok {
		return
	}
	delete(m.asked, ev.Ref)
	if ev.OK {
		delete(m.failed, q.who)
		m.noteReached(q.who)
	} else {
		m.noteFailed(q)
	}
}

// noteHeard keeps signs of life: of members, for doubts; of suspects, since the
// suspicion.
func (m *Machine) noteHeard(from Member) {
	if m.copy == nil || !m.inForce(from) {
		return
	}
	delete(m.convinced, from)
	if !m.failed[from].around { // else my messages need not reach it because its reach me
		delete(m.failed, from)
	}
	m.heardAt[from] = m.now
	if _, mine := m.suspicion[from]; mine || m.suspectOnToken(from) {
		m.heard[from] = m.copyStamp
	}
}

// noteReached notes that a message of mine has arrived.
func (m *Machine) noteReached(who Member) {
	m.noteHeard(who)
	if m.copy != nil && m.inForce(who) {
		m.alive[who] = life{m.alive[who].seen, m.now, m.lateSum}
	}
}

func (m *Machine) inForce(who Member) bool {
	return slices.ContainsFunc(m.force(), func(v IndexedView) bool { return v.View.Has(who) })
}

// noteFailed counts a message that did not arrive. Who was late itself meanwhile
// may have missed the answer: it accuses nobody, unless that goes on.
func (m *Machine) noteFailed(q question) {
	if m.copy == nil || !m.inForce(q.who) {
		return
	}
	f := m.failed[q.who]
	if m.lateSum-q.late >= m.t.SendTimeout/2 && f.late < 2 {
		f.late++
	} else {
		f.n, f.late = f.n+1, 0
		f.again = f.again || f.around
		f.placed, f.around = f.again, false
		delete(m.heard, q.who)
	}
	f.at, f.stamp = m.now, m.copyStamp
	m.failed[q.who] = f
}

// noteAround finds on the token who has had it since I failed to reach him. He is
// not to be accused; the token must get to him from another.
func (m *Machine) noteAround() {
	for who, f := range m.failed { // each for itself: order does not matter
		seen := ackValue(m.copy, who).Seen
		switch {
		case f.n == 0:
		case seen > 0 && f.stamp.Less(Stamp{Epoch: m.copy.Epoch, Seq: seen}):
			f.around, f.placed, f.again = true, true, false
		case f.again && f.stamp.Less(m.passed): // it went round without him
			f.placed, f.again = false, false
		}
		m.failed[who] = f
	}
}

// passAround puts back in the order whom I cannot reach but another can, and asks
// him now and then whether that is still so.
func (m *Machine) passAround() {
	for range m.copy.Ring {
		who := m.next()
		if f := m.failed[who]; who == m.me || !f.around && !f.again {
			return
		}
		if m.now.Sub(m.askedAt[who]) >= 4*m.t.StarveTimeout {
			m.ask(who, m.newCall(m.nextEpoch(), true))
		}
		if !m.putBack(who) {
			return
		}
	}
}

// silent are the members that my last messages did not reach: what I know as a
// witness for one who makes a token.
func (m *Machine) silent() []Member {
	var out []Member
	for _, who := range membersOf(m.force()) {
		if f := m.failed[who]; f.n > 0 && !f.around && m.now.Sub(f.at) <= m.t.StarveTimeout+m.t.SendTimeout {
			out = append(out, who)
		}
	}
	return out
}

// alone reports whether nobody but me could find out whether who lives.
func (m *Machine) alone(who Member, out func(Member) bool) bool {
	return !slices.ContainsFunc(membersOf(m.force()), func(w Member) bool { return w != m.me && w != who && !out(w) })
}

// clearSuspects takes from the token those that were heard from since they
// were suspected. A doubt ends also if I heard from the member when the other did
// not.
func (m *Machine) clearSuspects() {
	t := m.copy
	t.Suspects = slices.DeleteFunc(t.Suspects, func(s Suspect) bool {
		at, ok := m.heard[s.Member]
		since := Stamp{Epoch: t.Epoch, Seq: s.Seq}
		ok = ok && since.Less(at)
		if h := m.heardAt[s.Member]; !s.Sure && h != 0 && m.now.Sub(h) <= m.t.SendTimeout {
			ok = true
		}
		if ok {
			m.trace(Trace{Kind: TraceClear, Peer: s.Member, Stamp: t.Stamp()})
			delete(m.heard, s.Member)
			delete(m.suspicion, s.Member)
		}
		return ok
	})
}

// leaveOutAfter is how long a member may be silent before it is left out, short of one
// look at each member: the others' leases do not depend on it, since the token
// passes over whoever is doubted.
func (m *Machine) leaveOutAfter() time.Duration { return m.t.Lease - m.t.IdleRotation }

// noteAlive reads on the token that I accept who has had it since I last read.
func (m *Machine) noteAlive() {
	for _, a := range m.copy.Acks {
		seen := Stamp{Epoch: m.copy.Epoch, Seq: a.Seen}
		if a.Seen > 0 && m.alive[a.Member].seen.Less(seen) {
			m.alive[a.Member] = life{seen, m.now, m.lateSum}
			delete(m.convinced, a.Member)
		}
	}
}

// silence is for how long there has been no proof of a member's life; for ever, if
// there never was one. Time by which I was late does not count.
func (m *Machine) silence(who Member) time.Duration {
	last, ok := m.alive[who]
	if !ok {
		return 1<<63 - 1
	}
	return m.now.Sub(last.at) - (m.lateSum - last.late)
}

func (m *Machine) silentLong(who Member) bool { return m.silence(who) >= m.leaveOutAfter() }

// moreToCome reports whether others than these are about to be left out, so that
// one change can do for all who died together; until the first lease is over.
func (m *Machine) moreToCome(gone []Member) bool {
	for _, who := range gone {
		if m.silence(who) >= m.t.Lease || !m.silentLong(who) {
			return false
		}
	}
	return slices.ContainsFunc(m.copy.Suspects, func(s Suspect) bool {
		return !s.Sure && m.silence(s.Member) >= m.leaveOutAfter()-m.t.IdleRotation
	})
}

// placeSuspects writes on the token what I know against others.
func (m *Machine) placeSuspects() {
	for _, who := range membersOf(m.force()) { // not over the maps: their order is chance
		if _, ok := m.suspicion[who]; ok {
			if _, ok := m.heard[who]; !ok { // what is in heard came after my suspicion
				m.accuse(who, true)
			}
			delete(m.suspicion, who)
			delete(m.heard, who)
		}
		if f := m.failed[who]; f.n > 0 && !f.placed {
			m.accuse(who, m.cfg.Aggressive)
			if f.n >= 2 && m.alone(who, m.suspectOnToken) {
				m.convinced[who] = true
			}
			f.placed = true
			m.failed[who] = f
		}
		if m.convinced[who] {
			m.convict(who)
		}
	}
}

// convict makes a doubt sure that waited for its time only.
func (m *Machine) convict(who Member) {
	doubted := slices.ContainsFunc(m.copy.Suspects, func(s Suspect) bool { return s.Member == who && !s.Sure })
	if doubted && !m.silentLong(who) {
		return
	}
	delete(m.convinced, who)
	if doubted {
		m.accuse(who, true)
	}
}

// accuse adds a doubt of mine to the token, or makes another's sure.
func (m *Machine) accuse(who Member, sure bool) {
	t := m.copy
	i := slices.IndexFunc(t.Suspects, func(s Suspect) bool { return s.Member == who })
	if i < 0 {
		i = len(t.Suspects)
		t.Suspects = append(t.Suspects, Suspect{Member: who, Seq: t.Seq, By: m.me})
		if !sure {
			m.trace(Trace{Kind: TraceDoubt, Peer: who, Stamp: t.Stamp()})
			m.putBack(who)
		}
	}
	s := &t.Suspects[i]
	switch {
	case s.Sure:
		return
	case s.By == Member{}:
		s.By = m.me
	case s.By != m.me:
		m.convinced[who] = true
	}
	if sure {
		s.Sure, s.SureAt = true, t.Seq
		m.trace(Trace{Kind: TraceSuspect, Peer: who, Stamp: t.Stamp()})
	}
}

// putBack moves a member one place back in the order of the ring, so that another
// than me sends to it, if there is one.
func (m *Machine) putBack(who Member) bool {
	r := m.copy.Ring
	i := slices.Index(r, who)
	if i < 0 || len(r) < 3 {
		return false
	}
	j := (i + 1) % len(r)
	if r[j] == m.me {
		return false
	}
	r[i], r[j] = r[j], r[i]
	return true
}

// askDoubted asks those whom the token passes over without being sure. An answer
// promises nothing.
func (m *Machine) askDoubted() {
	for _, s := range m.copy.Suspects {
		if s.Sure || s.Member == m.me || s.Member.ID == m.me.ID {
			continue
		}
		if at := m.askedAt[s.Member]; at == 0 || m.now.Sub(at) >= m.t.SendTimeout {
			m.ask(s.Member, m.newCall(m.nextEpoch(), true))
		}
	}
}

// Lateness. A process that did not run, or a machine with no time for it, sees
// all others silent. It is to blame itself.

// lateMin is how late a timer of mine must be to count.
func (m *Machine) lateMin() time.Duration { return max(2*time.Millisecond, m.t.SendTimeout/8) }

// noteLate looks how late the step is that a timer asked for.
func (m *Machine) noteLate() {
	late := m.now.Sub(m.wakeAt)
	if m.wakeAt == 0 || late < m.lateMin() {
		return
	}
	m.lateSum += late
	m.lateness = max(m.lateness, min(late, m.t.StarveTimeout/2))
	if m.starveAt != 0 && !m.stretched {
		// What came meanwhile may still wait to be read.
		m.stretched = true
		m.starveAt = max(m.starveAt, m.now.Add(m.lateness))
	}
}

// starve begins to wait for the token.
func (m *Machine) starve(d time.Duration) {
	m.starveAt = m.now.Add(d + m.lateness)
	m.stretched = false
}

// probeAfter is how long a token may be away before I ask for it: about two idle
// rotations, as measured if they are longer than planned, but when that is long
// rather early than late: a question does no harm.
func (m *Machine) probeAfter() time.Duration {
	took := max(m.t.IdleRotation, m.rotation)
	return min(2*took, max(m.t.StarveTimeout, took+took/4))
}

// noteRotation measures the trips of the token. One that was longer counts at
// once, and fades.
func (m *Machine) noteRotation() {
	if m.passedAt != 0 && m.passed.Epoch == m.copy.Epoch {
		took := min(m.now.Sub(m.passedAt), m.t.StarveTimeout)
		m.rotation = max(took, m.rotation-m.rotation/8)
	}
	m.lateness -= m.lateness / 8
	if m.lateness < m.lateMin()/4 {
		m.lateness = 0
	}
}
