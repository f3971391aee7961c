package rudp

import (
	"time"

	"rain/ring"
)

// link is what is measured of one link.
type link struct {
	srtt, rttvar time.Duration
	loss         float64
	fails        int          // packets in a row without an answer
	heard        ring.Instant // the last answer to something sent over it
	sent         uint64       // packets with fragments sent over it, numbers them
	acked        uint64       // the highest of those numbers that was acknowledged
	pingAt       ring.Instant
	pingSent     uint64 // number of the ping on its way; 0: none
}

// unknownRTT stands for the round trip of a link not measured yet: it is tried
// before slow ones and after fast ones.
const unknownRTT = 500 * time.Microsecond

func (l *link) sample(rtt time.Duration) {
	rtt = max(rtt, 1)
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

// score orders links: what works before what does not, then fast before slow.
func (l *link) score() time.Duration {
	rtt := l.srtt
	if rtt == 0 {
		rtt = unknownRTT
	}
	rtt += time.Duration(4 * l.loss * float64(rtt))
	return rtt + time.Duration(min(l.fails, 16))*time.Second
}

// rto is the wait before a fragment that has been sent tries times goes over
// the next link. It is short enough for all links to have their turn within the
// send timeout.
func (c *Conn) rto(l *link, tries int) time.Duration {
	most := c.cfg.SendTimeout / time.Duration(len(c.links)+1)
	d := c.cfg.InitialRTO
	if l.srtt != 0 {
		d = max(l.srtt+4*l.rttvar, c.cfg.MinRTO)
	}
	for round := (tries - 1) / len(c.links); round > 0 && d < most; round-- {
		d *= 2
	}
	return max(min(d, most), 1)
}

// pick chooses the link for a fragment: one that it has not been tried on, if
// there is one, the best of those; for a first try in turn over equal ones.
func (c *Conn) pick(f *fragment) int {
	if len(c.links) == 1 {
		return 0
	}
	open := ^f.tried & (1<<len(c.links) - 1)
	if open == 0 {
		open = 1<<len(c.links) - 1
		if f.tries > 0 {
			open &^= 1 << f.link
		}
	}
	best := -1
	for i := range c.links {
		if open&(1<<i) != 0 && (best < 0 || c.links[i].score() < c.links[best].score()) {
			best = i
		}
	}
	if f.tries > 0 {
		return best
	}
	limit := c.links[best].score()
	limit += limit/4 + 20*time.Microsecond
	c.turn++
	for k := range c.links {
		if i := (c.turn + k) % len(c.links); c.links[i].score() <= limit {
			return i
		}
	}
	return best
}
