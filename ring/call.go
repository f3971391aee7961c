package ring

import (
	"slices"
	"time"
)

// call is a 911 of mine under way.
type call struct {
	active   bool
	probe    bool
	epoch    Epoch
	deadline Instant
	graceAt  Instant // quorum reached; the others have until then
	refs     map[uint64]Member
	grants   []grant
	failed   []Member // the transport could not reach them
	denied   []Member // they have a newer copy, and I do not wait for them any more
	waited   bool     // its deadline was moved once, for the witness
	first    []Member // asked first, see circle.go; empty: all were
	widenAt  Instant  // the others are asked then
	before   Epoch    // promised before this call, and to whom
	beforeTo Member
}

type grant struct {
	who    Member
	age    time.Duration
	at     Instant
	silent []Member
}

// making is when I made the token of an epoch, and how long from then on what
// belonged to those passed over since must rest.
type making struct {
	epoch Epoch
	at    Instant
	wait  time.Duration
}

func (c *call) granted(who Member) bool {
	return slices.ContainsFunc(c.grants, func(g grant) bool { return g.who == who })
}

// callTimers starts, ends and goes on with calls.
func (m *Machine) callTimers() {
	c := &m.call
	switch {
	case m.holding || m.over():
	case c.active && c.widenAt != 0 && m.now >= c.widenAt:
		m.widen()
	case c.active && c.graceAt != 0 && m.now >= c.graceAt:
		m.callNext()
	case c.active && m.now >= c.deadline && !c.waited && len(c.denied) == 0 && m.askWitness(m.force(), c.granted):
		c.waited = true
		c.deadline = m.now.Add(m.askEvery())
	case c.active && m.now >= c.deadline:
		m.abandon()
		m.backOff()
	case !c.active && m.now >= m.starvesAt():
		m.trace(Trace{Kind: TraceStarve, Stamp: m.copyStamp, Num: int64(m.now.Sub(m.lastAt))})
		m.probe()
	}
}

// abandon ends my call. Only I could have made its epoch, and now never will:
// so my own promise to myself is void, and a token that lives on may come back.
func (m *Machine) abandon() {
	c := m.call
	m.call = call{}
	if !c.active || c.probe {
		return
	}
	m.heardEpoch = max(m.heardEpoch, c.epoch) // never to be used again
	if m.promised == c.epoch && m.promisedTo == m.me {
		m.promised, m.promisedTo = c.before, c.beforeTo
	}
}

// backOff waits a random while, so that two callers do not meet again.
func (m *Machine) backOff() {
	m.starve(m.t.StarveTimeout/4 + time.Duration(m.rng.Int64N(int64(m.t.StarveTimeout/2))))
}

// startCall asks all members for leave to make a token. A probe asks without
// promising or taking promises, so that a token that is merely slow lives on.
func (m *Machine) startCall(probe bool) { m.startCallTo(probe, nil) }

// startCallTo is startCall where some are asked first; none: all.
func (m *Machine) startCallTo(probe bool, first []Member) {
	epoch := m.nextEpoch()
	if epoch.Generation() != m.copyStamp.Epoch.Generation() {
		m.restart("epochs of this generation are used up")
		return
	}
	m.call = call{active: true, probe: probe, epoch: epoch, refs: map[uint64]Member{}, before: m.promised, beforeTo: m.promisedTo}
	if !probe {
		m.promised, m.promisedTo = epoch, m.me
		m.holding = false
	}
	m.call.deadline = m.now.Add(m.t.SendTimeout + m.t.SendTimeout/4)
	m.call.grants = []grant{{who: m.me, age: m.now.Sub(m.lastAt), at: m.now}}
	m.trace(Trace{Kind: TraceCall, Epoch: epoch, Stamp: m.copyStamp, Text: probeText(probe)})
	if m.call.first = first; len(first) > 0 {
		m.call.widenAt = m.now.Add(m.grace())
		m.callTo(first)
	} else {
		m.callTo(membersOf(m.force()))
	}
	m.tryQuorum()
}

// callTo sends my call.
func (m *Machine) callTo(members []Member) {
	msg := m.newCall(m.call.epoch, m.call.probe)
	for _, who := range members {
		if who == m.me {
			continue
		}
		if m.failed[who].n > 0 || who.ID == m.me.ID { // that: my own former life
			m.call.failed = append(m.call.failed, who) // not waited for
		}
		if who.ID != m.me.ID {
			m.call.refs[m.ask(who, msg)] = who
		}
	}
}

func (m *Machine) nextEpoch() Epoch { return max(m.promised, m.copyStamp.Epoch, m.heardEpoch) + 1 }

func (m *Machine) newCall(epoch Epoch, probe bool) Call {
	return Call{Epoch: epoch, Copy: m.copyStamp, Settled: m.settled().View.Number, Probe: probe}
}

// starvesAt is when I ask for the token, if it has not come.
func (m *Machine) starvesAt() Instant { return max(m.starveAt, m.verdictBy()) }

// verdictBy is until when the token that I sent may still be on its way; the
// transport is about to say. 0: it has said.
func (m *Machine) verdictBy() Instant {
	if m.sent.ref == 0 || m.sent.stamp != m.copyStamp {
		return 0
	}
	return m.passedAt.Add(m.t.StarveTimeout + m.t.SendTimeout)
}

func probeText(probe bool) string {
	if probe {
		return "probe"
	}
	return ""
}

// onCall answers a 911.
func (m *Machine) onCall(from Member, c Call) {
	if m.state != member || m.copy == nil {
		return
	}
	m.hear(c.Epoch)
	settled := m.settled().View
	if !settled.Has(from) && settled.Number > c.Settled || m.passedBy(from, c) {
		m.send(from, Out{View: settled})
		return
	}
	deny := func(why string) {
		m.trace(Trace{Kind: TraceDeny, Peer: from, Epoch: c.Epoch, Stamp: m.copyStamp, Text: why})
		m.send(from, Deny{Epoch: c.Epoch, Promised: m.promised, Copy: m.copyStamp, Probe: c.Probe})
	}
	switch {
	case c.Epoch.Generation() != m.copyStamp.Epoch.Generation() || !slices.Contains(membersOf(m.force()), from):
		return
	case c.Copy.Less(m.copyStamp):
		deny("my copy is newer")
		// If I starve too, I am the one to call.
		if !m.holding && !m.call.active && m.now >= m.verdictBy() && m.now.Sub(m.lastAt) >= m.probeAfter() && m.now >= m.behindUntil {
			m.probe()
		}
		return
	case c.Copy == m.copyStamp && m.holding:
		deny("I hold the token")
		return
	case m.promised > c.Epoch || m.promised == c.Epoch && m.promisedTo != from:
		deny("promised already")
		return
	}
	g := Grant{Epoch: c.Epoch, Probe: c.Probe, Age: max(0, m.now.Sub(m.lastAt)), Silent: m.silent()}
	if !c.Probe {
		m.promised, m.promisedTo = c.Epoch, from
		m.holding = false
		m.call = call{}
		m.starve(m.t.StarveTimeout)
	}
	m.trace(Trace{Kind: TraceGrant, Peer: from, Epoch: c.Epoch, Num: int64(g.Age), Text: probeText(c.Probe)})
	m.send(from, g)
}

func (m *Machine) onGrant(from Member, g Grant) {
	c := &m.call
	if !c.active || g.Epoch != c.epoch || g.Probe != c.probe || c.granted(from) {
		return
	}
	c.grants = append(c.grants, grant{who: from, age: g.Age, at: m.now, silent: g.Silent})
	m.tryWiden()
	m.tryQuorum()
}

func (m *Machine) callSendDone(ev SendDone) {
	if who, ok := m.call.refs[ev.Ref]; ok && !ev.OK {
		m.call.failed = append(m.call.failed, who)
		m.tryWiden()
		m.tryQuorum()
	}
}

// tryQuorum goes on when a quorum has granted: at once if all the others answered
// or are known to be gone, else after a while: a probe waits for the transport's
// verdict on the silent ones, a call a short grace.
func (m *Machine) tryQuorum() {
	c := &m.call
	if !m.quorumOf(m.force(), m.tokStable(), c.granted) {
		if m.allAnswered() {
			m.askWitness(m.force(), c.granted)
		}
		return
	}
	silent := false
	for _, who := range membersOf(m.force()) {
		_, suspected := m.suspicion[who]
		if !c.granted(who) && !suspected && !m.suspectOnToken(who) && !slices.Contains(c.failed, who) && !slices.Contains(c.denied, who) {
			silent = true
		}
	}
	switch {
	case !silent:
		m.callNext()
	case c.graceAt != 0:
	case c.probe:
		c.graceAt = min(m.now.Add(m.t.SendTimeout), c.deadline)
	default:
		c.graceAt = m.now.Add(m.grace())
	}
}

// allAnswered reports whether nobody else can grant my call any more.
func (m *Machine) allAnswered() bool {
	for _, who := range membersOf(m.force()) {
		if !m.call.granted(who) && !slices.Contains(m.call.failed, who) {
			return false
		}
	}
	return true
}

// callNext goes on from the probe to the call, from the call to the token.
func (m *Machine) callNext() {
	if !m.call.probe {
		m.make()
		return
	}
	failed, denied := m.call.failed, m.call.denied
	m.startCall(false)
	if m.call.active {
		m.call.failed, m.call.denied = append(m.call.failed, failed...), denied
		m.tryQuorum()
	}
}

// maxGrace is how long a caller with a quorum waits for the rest. All were asked
// at once, so who lives answers at about the same time; every millisecond here is
// taken from the rest of the others' leases.
const maxGrace = 4 * time.Millisecond

func (m *Machine) grace() time.Duration { return min(m.t.IdleRotation/2, maxGrace) }

func (m *Machine) onDeny(from Member, d Deny) {
	m.hear(d.Promised)
	c := &m.call
	if !c.active || d.Epoch != c.epoch || d.Probe != c.probe {
		return
	}
	m.trace(Trace{Kind: TraceDenied, Peer: from, Epoch: d.Epoch, Stamp: d.Copy})
	if m.isolated && m.copyStamp.Less(d.Copy) {
		m.deniedInVain(from)
		return
	}
	m.abandon()
	if m.copyStamp.Less(d.Copy) {
		m.behindUntil = m.now.Add(m.t.StarveTimeout)
	}
	if m.copyStamp.Less(d.Copy) || d.Copy == m.copyStamp && d.Promised <= d.Epoch {
		m.starve(m.t.StarveTimeout)
		return
	}
	m.backOff()
}

// make makes the token of my call's epoch from my copy.
func (m *Machine) make() {
	c := m.call
	if !c.active || c.probe || m.promised != c.epoch || m.promisedTo != m.me {
		return
	}
	m.call = call{}
	old := m.copy
	t := &Token{
		Epoch: c.epoch, Base: old.Base, Commit: old.Commit, Stable: old.Stable,
		Ring: slices.Clone(old.Ring), Rows: slices.Clone(old.Rows), Ops: slices.Clone(old.Ops), // not from my log: it may begin above a base that was lowered
	}
	for _, who := range membersOf(m.force()) {
		if who != m.me && !c.granted(who) && !slices.Contains(c.denied, who) {
			m.doubtInNew(t, who, c.grants)
		}
		delete(m.suspicion, who)
		delete(m.heard, who)
	}
	freshest := time.Duration(1<<62 - 1)
	for _, g := range c.grants {
		freshest = min(freshest, g.age+m.now.Sub(g.at))
	}
	m.made = making{epoch: c.epoch, at: m.now, wait: max(0, m.t.Wait()-freshest)}
	m.copy, m.copyStamp = t, t.Stamp()
	m.lastAt = m.now
	m.holding, m.news, m.hurried = true, true, false
	m.holdUntil = m.now
	m.passed = Stamp{}
	m.sent = sentToken{}
	m.fixRing()
	for _, s := range t.Suspects {
		if s.By == m.me && !s.Sure {
			m.putBack(s.Member)
		}
	}
	m.trace(Trace{Kind: TraceMake, Stamp: t.Stamp(), Num: int64(len(c.grants))})
	m.pass()
}

// doubtInNew writes one who did not grant on the token that I make. It is sure if
// the failures of two senders say so, or all that there are of the only one.
func (m *Machine) doubtInNew(t *Token, who Member, grants []grant) {
	s := Suspect{Member: who}
	_, sure := m.suspicion[who]
	var by []Member
	note := func(w Member) {
		if w != (Member{}) && !slices.Contains(by, w) {
			by = append(by, w)
		}
	}
	f := m.failed[who]
	if f.n > 0 {
		note(m.me)
	}
	for _, old := range m.copy.Suspects {
		if old.Member == who {
			sure = sure || old.Sure
			note(old.By)
		}
	}
	for _, g := range grants {
		if slices.Contains(g.silent, who) {
			note(g.who)
		}
	}
	if len(by) > 0 {
		s.By = by[0]
	}
	granted := func(w Member) bool { return !slices.ContainsFunc(grants, func(g grant) bool { return g.who == w }) }
	enough := len(by) >= 2 || f.n >= 2 && m.alone(who, granted)
	s.Sure = sure || m.cfg.Aggressive || enough && m.silentLong(who)
	if enough && !s.Sure {
		m.convinced[who] = true
	}
	t.Suspects = append(t.Suspects, s)
	kind := TraceDoubt
	if s.Sure {
		kind = TraceSuspect
	}
	m.trace(Trace{Kind: kind, Peer: who, Epoch: t.Epoch})
	if f.n > 0 {
		f.placed = true
		m.failed[who] = f
	}
}
