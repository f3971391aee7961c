package ring

import (
	"maps"
	"slices"
	"time"
)

// coldState is a cold start in which this node takes part: disks vote, because
// the votes of processes died with them. Founding is a cold start of empty
// disks.
type coldState struct {
	promise    Epoch // highest ever promised; on disk before it is told
	epoch      Epoch // of the start under way
	maker      Member
	amMaker    bool
	promiseRef uint64 // of the Save that must be on disk before it goes on
	called     []Member
	granted    map[NodeID]Member
	graceAt    Instant
	deadline   Instant
	made       bool
	refs       map[uint64]Member
	failures   map[Member]int // sends that failed, in a row
	ready      map[Member]bool
	adopted    bool // granter: has the maker's snapshot
	unfetched  int  // granter: how often it did not get that, in a row
}

// coldWait is how long a primary has to show itself before disks vote, and how
// long one has to wait for the others' disks.
func (m *Machine) coldWait() time.Duration {
	return max(3*m.t.StarveTimeout+m.t.SendTimeout, 3*m.seekEvery())
}

// patience grows with the cold starts that this node has tried in vain: who
// tries again at once meets those who do the same, and a busy machine or net does
// not get better by it.
func (m *Machine) patience() time.Duration {
	return m.coldWait() << min(m.tries, maxTries)
}

const maxTries = 3

// coldPatience is how long a cold start waits for a sign of the others.
const coldPatience = 2 * time.Second

// diskBefore reports whether disk a is older than disk b.
func diskBefore(aEpoch Epoch, aLast uint64, bEpoch Epoch, bLast uint64) bool {
	return aEpoch < bEpoch || aEpoch == bEpoch && aLast < bLast
}

// voters are the fresh seekers whose disks can vote for mine, by id.
func (m *Machine) voters() []seeker {
	var out []seeker
	empty := m.cfg.Disk.Stamp.Epoch == 0
	for _, id := range slices.Sorted(maps.Keys(m.seek.seekers)) {
		s := m.seek.seekers[id]
		if m.now.Sub(s.at) > 3*m.seekEvery() || s.seek.Generation != 0 || s.seek.Lease != m.terms() {
			continue
		}
		if empty && slices.Contains(m.cfg.Founders, id) || !empty && mayVote(s.seek.DiskEpoch, s.seek.Promise, m.cfg.Disk.Stamp.Epoch) {
			out = append(out, s)
		}
	}
	return out
}

// mayVote reports whether a node with that disk may vote for a log of this
// epoch. An empty disk may not (it may have burned), but for one case: it holds
// the promise for this generation. Then it was there at the founding and
// died before its first record was on disk. A later generation is a later try.
func mayVote(disk, promise, log Epoch) bool {
	return disk != 0 || promise != 0 && promise.Generation() >= log.Generation()
}

// diskQuorum reports whether the ids for which in is true may start from my
// disk.
func (m *Machine) diskQuorum(in func(NodeID) bool) bool {
	if m.forced() {
		return true
	}
	byID := func(w Member) bool { return in(w.ID) }
	if m.cfg.Disk.Stamp.Epoch != 0 {
		return m.quorumOf(inForce(m.views, m.cfg.Disk.Stable), m.cfg.Disk.Stable, byID)
	}
	n := 0
	for _, id := range m.cfg.Founders {
		if in(id) {
			n++
		}
	}
	return 2*n > len(m.cfg.Founders)
}

// tryCold calls for a cold start when no primary answers, the disks of those
// who do are enough, and no other disk is a better one to start from.
func (m *Machine) tryCold() {
	s, d := &m.seek, m.cfg.Disk
	empty := d.Stamp.Epoch == 0
	if s.adopted || !s.fetching.IsZero() || m.over() || m.now < s.since ||
		s.welcome != 0 && m.now.Sub(s.welcome) < m.coldWait() ||
		empty && !slices.Contains(m.cfg.Founders, m.me.ID) {
		return
	}
	waited := m.now.Sub(s.since)
	voters := m.voters()
	here := map[NodeID]bool{m.me.ID: true}
	for _, v := range voters {
		here[v.who.ID] = true
		better := diskBefore(d.Stamp.Epoch, m.diskLast(), v.seek.DiskEpoch, v.seek.DiskLast)
		same := v.seek.DiskEpoch == d.Stamp.Epoch && v.seek.DiskLast == m.diskLast()
		if empty && v.seek.DiskEpoch != 0 {
			return // never beside a disk that is not empty
		}
		// It will call. If it does not for long, I do; but one with a better disk would
		// deny, so then long enough for all others to have tried.
		if same && v.who.ID < m.me.ID && waited < 4*m.patience() || better && waited < 8*m.patience() {
			return
		}
	}
	all := empty && !slices.ContainsFunc(m.cfg.Founders, func(id NodeID) bool { return !here[id] })
	if waited < m.patience() && !all {
		return
	}
	if !m.diskQuorum(func(id NodeID) bool { return here[id] }) {
		if !empty {
			m.askWitness(inForce(m.views, d.Stable), func(w Member) bool { return here[w.ID] })
		}
		return
	}
	gen := max(s.maxGen, d.Stamp.Epoch.Generation(), m.cold.promise.Generation(), m.promised.Generation()) + 1
	if m.forced() {
		gen += uint32(m.rng.IntN(forceGap))
	}
	m.cold = coldState{promise: MakeEpoch(gen, 1), epoch: MakeEpoch(gen, 1), maker: m.me, amMaker: true, granted: map[NodeID]Member{m.me.ID: m.me}}
	for _, v := range voters {
		m.cold.called = append(m.cold.called, v.who)
	}
	m.trace(Trace{Kind: TraceColdCall, Epoch: m.cold.epoch, Num: int64(len(voters))})
	m.enterCold()
}

// enterCold writes the promise; what it promises is told when it is on disk.
func (m *Machine) enterCold() {
	m.state = cold
	m.seek.tainted = true
	m.refs++
	m.cold.promiseRef = m.refs
	m.cold.deadline = m.now.Add(coldPatience)
	m.eff.Save = &Save{Ref: m.refs, PromiseOnly: true, Promise: m.cold.promise}
}

// coldPromised: the promise is on disk.
func (m *Machine) coldPromised() {
	c := &m.cold
	c.promiseRef = 0
	if !c.amMaker {
		m.trace(Trace{Kind: TraceColdGrant, Peer: c.maker, Epoch: c.epoch})
		m.send(c.maker, ColdGrant{Epoch: c.epoch})
		return
	}
	msg := ColdCall{Epoch: c.epoch, DiskEpoch: m.cfg.Disk.Stamp.Epoch, DiskLast: m.diskLast()}
	for _, who := range c.called {
		m.send(who, msg)
	}
	m.coldQuorum()
}

func (m *Machine) onColdCall(from Member, c ColdCall) {
	d := m.cfg.Disk
	m.seek.maxGen = max(m.seek.maxGen, c.Epoch.Generation())
	free := m.state == seeking && !m.seek.adopted || m.state == cold && !m.cold.made && !m.cold.adopted
	empty := d.Stamp.Epoch == 0
	switch {
	case !free, m.now < m.seek.unfit,
		empty && c.DiskEpoch == 0 && !slices.Contains(m.cfg.Founders, m.me.ID),
		c.DiskEpoch != 0 && !mayVote(d.Stamp.Epoch, m.cold.promise, c.DiskEpoch):
		return
	}
	if c.Epoch <= m.cold.promise || diskBefore(c.DiskEpoch, c.DiskLast, d.Stamp.Epoch, m.diskLast()) {
		m.trace(Trace{Kind: TraceColdDeny, Peer: from, Epoch: c.Epoch})
		m.send(from, ColdDeny{Epoch: c.Epoch, Promise: m.cold.promise, DiskEpoch: d.Stamp.Epoch, DiskLast: m.diskLast()})
		return
	}
	m.cold = coldState{promise: c.Epoch, epoch: c.Epoch, maker: from}
	m.promised = max(m.promised, c.Epoch)
	m.enterCold()
}

func (m *Machine) onColdGrant(from Member, g ColdGrant) {
	c := &m.cold
	if m.state != cold || !c.amMaker || c.made || c.promiseRef != 0 || g.Epoch != c.epoch || !slices.Contains(c.called, from) {
		return
	}
	c.granted[from.ID] = from
	m.coldQuorum()
}

func (m *Machine) onColdDeny(from Member, d ColdDeny) {
	m.seek.maxGen = max(m.seek.maxGen, d.Promise.Generation(), d.DiskEpoch.Generation())
	if m.state != cold || !m.cold.amMaker || d.Epoch != m.cold.epoch {
		return
	}
	switch {
	case !m.cold.made:
		m.coldGiveUp("denied by " + from.ID.String())
	case d.Promise > m.cold.epoch:
		m.restart("a granter of the cold start went on without it")
	}
}

// coldGiveUp goes back to looking; the next try is a generation of its own.
func (m *Machine) coldGiveUp(why string) {
	m.trace(Trace{Kind: TraceColdGiveUp, Epoch: m.cold.epoch, Text: why})
	m.cold = coldState{promise: m.cold.promise}
	wait := time.Duration(m.rng.Int64N(int64(m.patience())))
	m.tries++
	m.beginSeek(wait)
}

// coldQuorum makes the cold view when enough disks have voted; all who were
// asked have a short while to be in it.
func (m *Machine) coldQuorum() {
	c := &m.cold
	if !m.diskQuorum(func(id NodeID) bool { _, ok := c.granted[id]; return ok }) {
		return
	}
	if len(c.granted) <= len(c.called) && c.graceAt == 0 {
		c.graceAt = m.now.Add(m.t.SendTimeout)
		c.deadline = c.graceAt
		return
	}
	if len(c.granted) > len(c.called) || m.now >= c.graceAt {
		m.coldMake()
	}
}

// coldMake makes the first token of a new generation from my disk: its whole
// log is the truth from now on, and the view holds exactly the granters. Nothing
// is written to disk before all of them have the log.
func (m *Machine) coldMake() {
	c := &m.cold
	last := m.log.last()
	m.deliver(last)
	m.commit, m.stable = last, last
	c.made = true
	m.promised, m.promisedTo = c.epoch, m.me
	m.heardEpoch = c.epoch
	m.copy = &Token{Epoch: c.epoch, Base: last, Commit: last, Stable: last}
	m.copyStamp = m.copy.Stamp()
	change := ViewChange{Wait: m.t.Wait(), Cold: true, Kind: CauseCold}
	if last == 0 {
		change.Kind = CauseFound
	}
	change.View.Number = m.newest().View.Number + 1
	for _, id := range slices.Sorted(maps.Keys(c.granted)) {
		change.View.Members = append(change.View.Members, ViewMember{Member: c.granted[id], Since: change.View.Number})
		change.Who = append(change.Who, c.granted[id])
	}
	m.trace(Trace{Kind: TraceColdMade, Epoch: c.epoch, View: change.View.Number, Num: int64(len(c.granted))})
	m.appendViewOp(change)
	c.ready = map[Member]bool{m.me: true}
	c.refs, c.failures = map[uint64]Member{}, map[Member]int{}
	m.tellColdMade()
	m.coldStartIfReady()
}

func (m *Machine) tellColdMade() {
	c := &m.cold
	m.seek.next = m.now.Add(m.seekEvery())
	c.deadline = m.now.Add(30 * coldPatience)
	for _, id := range slices.Sorted(maps.Keys(c.granted)) {
		if who := c.granted[id]; !c.ready[who] {
			c.refs[m.sendRef(who, ColdMade{Epoch: c.epoch})] = who
		}
	}
}

// onColdMade: the maker has the log for me.
func (m *Machine) onColdMade(from Member, c ColdMade) {
	if m.state == seeking && c.Epoch == m.cold.promise && m.seek.tainted && !m.seek.adopted {
		// I had given it up, but promised nobody else since.
		m.state = cold
		m.cold = coldState{promise: c.Epoch, epoch: c.Epoch, maker: from}
	}
	if m.state == member || m.cold.promise > c.Epoch {
		// I went on without it: its maker must not wait for me.
		m.send(from, ColdDeny{Epoch: c.Epoch, Promise: max(m.cold.promise, m.copyStamp.Epoch)})
		return
	}
	if m.state != cold || from != m.cold.maker || c.Epoch != m.cold.epoch || m.cold.promiseRef != 0 {
		return
	}
	m.cold.deadline = m.now.Add(coldPatience)
	switch {
	case m.cold.adopted:
		m.send(from, m.seekMessage())
	case m.seek.fetching != from:
		m.fetch(from)
	}
}

// coldReady: a granter shows the maker's snapshot.
func (m *Machine) coldReady(from Member, s Seek) {
	c := &m.cold
	if !c.amMaker || !c.made {
		return
	}
	if g, ok := c.granted[from.ID]; ok && (g.Inc < from.Inc || s.Promise > c.epoch) {
		m.restart("a granter of the cold start went on without it")
		return
	}
	if s.Generation != c.epoch.Generation() || c.granted[from.ID] != from {
		return
	}
	c.ready[from] = true
	m.coldStartIfReady()
}

// coldStartIfReady lets the token go when all can take it.
func (m *Machine) coldStartIfReady() {
	c := &m.cold
	for _, who := range c.granted {
		if !c.ready[who] {
			return
		}
	}
	m.state = member
	m.cold = coldState{promise: c.promise}
	m.holding, m.news = true, true
	m.holdUntil = m.now
	m.lastAt, m.lastLease = m.now, m.now
	m.tries = 0
	m.trace(Trace{Kind: TraceMember, Stamp: m.copyStamp, View: m.newest().View.Number})
	m.pass()
}

func (m *Machine) coldTimers() {
	c := &m.cold
	switch {
	case c.made:
		if m.now >= c.deadline || m.granterLost() {
			m.tries++
			m.restart("a granter of the cold start is lost")
		} else if m.now >= m.seek.next {
			deadline := c.deadline
			m.tellColdMade()
			c.deadline = deadline
		}
	case c.amMaker && c.graceAt != 0 && m.now >= c.graceAt:
		m.coldMake()
	case m.now >= c.deadline && c.adopted:
		m.tries++
		m.restart("the maker of the cold start is lost")
	case m.now >= c.deadline:
		m.coldGiveUp("no answer")
	}
	if m.state == cold && !c.made && m.now >= m.seek.next {
		m.seek.next = m.now.Add(m.seekEvery())
		msg := m.seekMessage()
		for _, id := range m.seekIDs() {
			m.send(Member{ID: id}, msg)
		}
	}
}

func (m *Machine) coldSendDone(ev SendDone) {
	c := &m.cold
	who, ok := c.refs[ev.Ref]
	if m.state != cold || !ok {
		return
	}
	delete(c.refs, ev.Ref)
	if ev.OK {
		delete(c.failures, who)
	} else {
		c.failures[who]++
	}
}

// granterLost reports whether one of those who must take the cold view could not
// be reached four times in a row.
func (m *Machine) granterLost() bool {
	for _, n := range m.cold.failures { // any of them: order does not matter
		if n > 3 {
			return true
		}
	}
	return false
}
