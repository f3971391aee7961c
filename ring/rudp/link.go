package rudp

import (
	"math"
	"time"

	"rain/ring"
)

// link is what is measured of one link.
type link struct {
	srtt, rttvar time.Duration
	loss         float64
	fails        int          // packets in a row without an answer
	slow         int          // packets without one since an answer was last timed
	heard        ring.Instant // the last answer to something sent over it
	sent         uint64       // packets with fragments sent over it, numbers them
	acked        uint64       // the highest of those numbers that was acknowledged
	pingAt       ring.Instant
	pingSent     uint64 // number of the ping on its way; 0: none

	state    State
	failedAt ring.Instant // the last failure
	// The congestion window counts fragments on this link: a slow one fills its
	// own and leaves the others theirs.
	flying   int
	cwnd     float64
	ssthresh float64
	cut      ring.Instant // when cwnd was last cut
}

func newLink(now ring.Instant) link { return link{pingAt: now, cwnd: startCwnd, ssthresh: Window} }

func (l *link) room() bool { return l.flying < int(l.cwnd) }

func (l *link) failed(now ring.Instant) {
	l.fails++
	l.slow++
	l.failedAt = now
}

// unknownRTT stands for the round trip of a link not measured yet: it is tried
// before slow ones and after fast ones.
const unknownRTT = 500 * time.Microsecond

// maxBackoff bounds how often packets without an answer double the wait.
const maxBackoff = 2

func (l *link) sample(rtt time.Duration) {
	rtt = max(rtt, 1)
	l.slow = 0
	if l.srtt == 0 {
		l.srtt, l.rttvar = rtt, rtt/2
		return
	}
	l.rttvar += ((rtt - l.srtt).Abs() - l.rttvar) / 4
	l.srtt += (rtt - l.srtt) / 8
}

// answered notes that something sent over the link was acknowledged.
func (l *link) answered(now ring.Instant) {
	l.heard = now
	l.fails = 0
	l.pingSent = 0
	l.loss -= l.loss / 32
}

func (l *link) lost() { l.loss += (1 - l.loss) / 32 }

func (l *link) pong(now ring.Instant, n uint64) {
	if n == 0 || n != l.pingSent {
		return // an old one: its time would be wrong
	}
	l.sample(now.Sub(ring.Instant(n)))
	l.answered(now)
}

func (l *link) pingDue(now ring.Instant, every time.Duration) bool {
	if every == 0 || now < l.pingAt {
		return false
	}
	if next := l.heard.Add(every); l.heard != 0 && next > now {
		l.pingAt = next // data has measured it just now
		return false
	}
	if l.pingSent != 0 {
		l.lost()
		l.fails++
	}
	l.pingSent = uint64(now)
	l.pingAt = now.Add(every)
	return true
}

// score orders links: what works before what does not, then by when a fragment
// may be there: fast before slow, lossless before lossy, empty before full.
func (l *link) score() time.Duration {
	rtt := l.srtt
	if rtt == 0 {
		rtt = unknownRTT
	}
	rtt += time.Duration((4*l.loss + float64(l.flying)/l.cwnd) * float64(rtt))
	return rtt + handicap(l.state) + time.Duration(min(l.fails, 16))*time.Second
}

// rto is the wait before a fragment that has been sent tries times goes over
// the next link. It is short enough for all links to have their turn within the
// send timeout. It stays longer on a link until that has answered something that
// was sent once, and so could be timed: where processors are full answers are
// late and nothing is lost, and packets sent again for nothing, by all to all,
// keep them full.
func (c *Conn) rto(l *link, tries int) time.Duration {
	ways := max(c.ways, 1)
	most := c.cfg.SendTimeout / time.Duration(ways+1)
	d := c.cfg.InitialRTO
	if l.srtt != 0 {
		d = max(l.srtt+4*l.rttvar, c.cfg.MinRTO)
	}
	for round := (tries-1)/ways + min(l.slow, maxBackoff); round > 0 && d < most; round-- {
		d *= 2
	}
	return max(min(d, most), 1)
}

// pick chooses the link for a fragment: one that it has not been tried on, if
// there is one with room, the best of those; for a first try in turn over equal
// ones. -1: no link has room.
func (c *Conn) pick(f *fragment) int {
	switch {
	case f.tries == 0:
		return c.first()
	case f.overtaken:
		// A single loss: the link works. Another one if it is no worse.
		if best := c.best(c.peers() &^ (1 << f.link)); best >= 0 {
			return best
		}
		return c.best(c.peers())
	}
	if best := c.best(c.open &^ f.tried); best >= 0 {
		return best
	}
	again := c.open
	if c.ways > 1 {
		again &^= 1 << f.link
	}
	if best := c.best(again); best >= 0 {
		return best
	}
	return c.best(c.open)
}

// peers are the open links that are not much worse than the best: no spare ones
// beside one that works, no failing ones beside one that does not fail.
func (c *Conn) peers() (among uint16) {
	top := time.Duration(math.MaxInt64)
	for i := range c.links {
		if c.open&(1<<i) != 0 {
			top = min(top, c.links[i].score())
		}
	}
	for i := range c.links {
		if c.open&(1<<i) != 0 && c.links[i].score()-top < handicap(Spare)/2 {
			among |= 1 << i
		}
	}
	return among
}

// first chooses for a first try. It would rather wait for room on a link that
// works than burden a spare one.
func (c *Conn) first() int {
	among := c.peers()
	best := c.best(among)
	if best < 0 {
		return -1
	}
	limit := c.links[best].score()
	limit += limit/4 + 20*time.Microsecond
	c.turn++
	for k := range c.links {
		i := (c.turn + k) % len(c.links)
		if l := &c.links[i]; among&(1<<i) != 0 && l.room() && l.score() <= limit {
			return i
		}
	}
	return best
}

// best is the best link with room among some; -1: none.
func (c *Conn) best(among uint16) int {
	best := -1
	for i := range c.links {
		l := &c.links[i]
		if among&(1<<i) != 0 && l.room() && (best < 0 || l.score() < c.links[best].score()) {
			best = i
		}
	}
	return best
}
