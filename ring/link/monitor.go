package link

import (
	"time"

	"rain/ring"
)

// Cause says why an end reported a transition.
type Cause string

// The causes.
const (
	CauseSilence Cause = "silence" // no new echo for Config.DownAfter
	CauseEchoes  Cause = "echoes"  // enough echoes of pings sent after it went Down
	CauseFollow  Cause = "follow"  // the other end's history would else be too far ahead
	CauseRestart Cause = "restart" // the other end is new: the history starts anew, Down
)

// Transition is one report of this end.
type Transition struct {
	Count uint64 // place in the history of the session, from 1; 0: the session's start
	Up    bool
	At    ring.Instant
	Cause Cause
}

// Effects are what the caller must do after a call. The slices are the
// Monitor's and valid until its next call.
type Effects struct {
	Send    []Ping
	Reports []Transition
	Wake    ring.Instant // call Tick then
}

// Monitor is one end of one path. It is not safe for concurrent use.
type Monitor struct {
	cfg     Config
	inc     ring.Incarnation
	peer    ring.Incarnation // 0: not heard of yet
	history History

	no      uint64 // pings sent
	sentAt  [sentKept]ring.Instant
	pingAt  ring.Instant // the next ping is due
	echoed  uint64       // the highest of our pings that came back
	fresh   ring.Instant // when that was
	downNo  uint64       // pings up to this one were sent before we went Down
	echoes  int          // that came in a row since we went Down
	need    int          // of them to come Up
	since   ring.Instant // the state stands
	heard   uint64       // the highest number of the peer's pings
	heardAt ring.Instant
	window  uint64 // bit i: the peer's ping heard-i came
	srtt    time.Duration
	sampled time.Duration // the last round trip, not smoothed
	proven  ring.Instant  // when the newest ping that was echoed had been sent

	past []Transition // the last Keep, oldest first
	out  Effects
}

// sentKept is how many pings back an echo can be timed.
const sentKept = 64

// New makes a Monitor for one path. inc is this node's incarnation: it must be
// higher than that of any earlier Monitor of this node for the path.
func New(cfg Config, inc ring.Incarnation, now ring.Instant) (*Monitor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Monitor{cfg: cfg, inc: inc, history: NewHistory(cfg.Slack), need: cfg.UpEchoes, since: now, pingAt: now}
	return m, nil
}

// Up says whether this end reports that the path works.
func (m *Monitor) Up() bool { return m.history.Up() }

// Tick does what is due. Early and late calls are fine: time by which a call
// comes late does not count against the path, as a caller that slept could not
// hear.
func (m *Monitor) Tick(now ring.Instant) Effects { return m.TickEarly(now, 0) }

// TickEarly is Tick, but a ping that is due within slop goes out now: so that
// the monitors of one node wake it together.
func (m *Monitor) TickEarly(now ring.Instant, slop time.Duration) Effects {
	m.begin()
	if late := now.Sub(m.wake()); late > 0 && m.no > 0 {
		m.fresh = min(m.fresh.Add(late), now)
	}
	if now.Sub(m.fresh) >= m.cfg.DownAfter {
		m.echoes = 0
		if m.history.Lost() {
			m.report(now, CauseSilence)
			m.pingAt = now
		}
	}
	if due := m.pingAt; now.Add(slop) >= due {
		m.ping(now)
		m.pingAt = max(due, now).Add(m.cfg.Every) // early once is not more often
	}
	return m.end()
}

// Receive takes a ping of the other end.
func (m *Monitor) Receive(now ring.Instant, p Ping) Effects {
	m.begin()
	if p.Inc < m.peer || p.Peer > m.inc {
		return m.end() // from before the peer's restart, or for after ours
	}
	fresh := p.Inc > m.peer
	if fresh {
		m.session(now, p.Inc)
	}
	m.listen(now, p)
	if p.Peer != m.inc {
		// The peer does not know us yet: not of this session. It waits to hear.
		if fresh || now >= m.sentAt[m.no%sentKept].Add(m.cfg.Every/2) {
			m.ping(now)
		}
		return m.end()
	}
	before := m.history.Count()
	if p.Count > m.history.Seen() && m.history.Valid(p.Count) {
		m.follow(now, p.Count)
	}
	eager := m.echo(now, p)
	if m.history.Count() != before || fresh || eager {
		m.ping(now) // the other end should hear of it at once
	}
	return m.end()
}

// session starts the history anew with a peer that is new or has restarted.
func (m *Monitor) session(now ring.Instant, inc ring.Incarnation) {
	m.peer = inc
	m.renew(now)
}

func (m *Monitor) renew(now ring.Instant) {
	was := m.history.Up()
	m.history = NewHistory(m.cfg.Slack)
	m.echoes, m.downNo, m.echoed = 0, m.no, m.no
	m.heard, m.window = 0, 0
	if was {
		m.report(now, CauseRestart)
	}
}

// listen keeps the score of the peer's pings.
func (m *Monitor) listen(now ring.Instant, p Ping) {
	if p.No <= m.heard {
		if back := m.heard - p.No; back < 64 {
			m.window |= 1 << back
		}
		return
	}
	if m.heard == 0 {
		m.window = ^uint64(0) // none is missing before the first
	} else {
		m.window <<= min(p.No-m.heard, 64)
		m.window |= 1
	}
	m.heard, m.heardAt = p.No, now
}

// follow steps through the peer's transitions one by one, so that each of our
// own gets its line in the history.
func (m *Monitor) follow(now ring.Instant, count uint64) {
	for c := m.history.Seen() + 1; c <= count; c++ {
		cause := CauseFollow
		if m.history.want {
			cause = CauseEchoes // it was proven before and may be reported now
		}
		if m.history.Follow(c) == 0 {
			continue
		}
		if m.history.Up() {
			m.fresh = now // the peer has the proof; ours has yet to come
		}
		m.report(now, cause)
	}
}

// echo takes the proof that a ping of ours went there and an answer came back.
// It returns whether the next one should not wait: a new session has nothing to
// live down.
func (m *Monitor) echo(now ring.Instant, p Ping) (eager bool) {
	if p.Echo <= m.echoed || p.Echo > m.no {
		return false
	}
	m.echoed = p.Echo
	if now.Sub(m.fresh) >= m.cfg.DownAfter {
		m.echoes = 0
	}
	m.fresh = now
	if m.no-p.Echo < sentKept && p.Held >= 0 {
		m.proven = m.sentAt[p.Echo%sentKept]
		m.sample(now.Sub(m.proven) - p.Held)
	}
	if m.history.Up() || p.Echo <= m.downNo {
		return false
	}
	if m.echoes++; m.echoes >= m.need && m.history.Restored() {
		m.report(now, CauseEchoes)
	}
	return m.echoes < m.need && m.need == m.cfg.UpEchoes && m.history.Count() == 0
}

func (m *Monitor) sample(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	m.sampled = rtt
	if m.srtt == 0 {
		m.srtt = rtt
	}
	m.srtt += (rtt - m.srtt) / 8
}

// report tells of the state that the history has just taken.
func (m *Monitor) report(now ring.Instant, cause Cause) {
	t := Transition{Count: m.history.Count(), Up: m.history.Up(), At: now, Cause: cause}
	if !t.Up {
		m.judge(now, cause)
		m.downNo, m.echoes = m.no, 0
	}
	m.since = now
	m.past = m.remember(t)
}

// judge makes a path that does not stay Up prove itself longer the next time. The
// restart of an end says nothing of the path between.
func (m *Monitor) judge(now ring.Instant, cause Cause) {
	switch {
	case now.Sub(m.since) >= m.cfg.Calm:
		m.need = m.cfg.UpEchoes
	case cause != CauseRestart:
		m.need = min(2*m.need, m.cfg.MaxUpEchoes)
	}
}

func (m *Monitor) remember(t Transition) []Transition {
	m.out.Reports = append(m.out.Reports, t)
	if len(m.past) == m.cfg.Keep {
		copy(m.past, m.past[1:])
		m.past = m.past[:m.cfg.Keep-1]
	}
	return append(m.past, t)
}

func (m *Monitor) ping(now ring.Instant) {
	m.no++
	m.sentAt[m.no%sentKept] = now
	m.pingAt = now.Add(m.cfg.Every)
	p := Ping{Inc: m.inc, Peer: m.peer, Up: m.history.Up(), Count: m.history.Count(), Seen: m.history.Seen(), No: m.no, Echo: m.heard, Held: -1}
	if m.heard > 0 {
		p.Held = now.Sub(m.heardAt)
	}
	m.out.Send = append(m.out.Send, p)
}

// wake is when the next thing is due.
func (m *Monitor) wake() ring.Instant {
	if m.history.Up() {
		return min(m.pingAt, m.fresh.Add(m.cfg.DownAfter))
	}
	return m.pingAt
}

func (m *Monitor) begin() { m.out.Send, m.out.Reports = m.out.Send[:0], m.out.Reports[:0] }

func (m *Monitor) end() Effects {
	m.out.Wake = m.wake()
	return m.out
}
