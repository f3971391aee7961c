package rudp

import (
	"math/bits"
	"time"

	"rain/ring"
)

// State says what the caller knows of a link from elsewhere, see rain/ring/link.
type State uint8

// The states. Without word from the caller a link is Up.
const (
	Up    State = iota
	Spare       // works, but costs others: used where no Up link answers
	Doubt       // hardly works: used only if there is no better one
	Dead        // does not work: never used
)

// handicap keeps the states apart in a score: a Spare is used as soon as the Up
// links have each failed once.
func handicap(s State) time.Duration {
	switch s {
	case Spare:
		return 400 * time.Millisecond
	case Doubt:
		return 20 * time.Second
	}
	return 0
}

// Report is what the caller has found out about a link.
type Report struct {
	State  State
	RTT    time.Duration // one round trip that was measured just now; 0: none was
	Loss   float64       // share that is lost, 0 to 1; only used with an RTT
	Proven ring.Instant  // what was sent then came there, and the answer back; 0: unknown
}

// SetLink takes a report. What is on its way over a link that is Dead goes over
// another one at once; when all are Dead, all that is not acknowledged has
// failed, and what is sent later fails at once.
func (c *Conn) SetLink(now ring.Instant, i int, r Report) Effects {
	c.begin()
	if i < 0 || i >= len(c.links) {
		return c.finish(now)
	}
	l := &c.links[i]
	if r.RTT > 0 {
		l.sample(r.RTT)
		l.loss += (r.Loss - l.loss) / 8
	}
	if r.Proven != 0 {
		l.heard = max(l.heard, r.Proven)
		if r.Proven > l.failedAt {
			l.fails = 0
		}
	}
	if l.state != r.State {
		l.state = r.State
		c.weigh()
		if r.State == Dead {
			c.leave(i)
		}
		if c.ways == 0 {
			c.giveUpAll()
		}
	}
	return c.finish(now)
}

// ResetLink forgets what was measured of a link: it leads another way now.
func (c *Conn) ResetLink(now ring.Instant, i int) {
	if i < 0 || i >= len(c.links) {
		return
	}
	c.leave(i)
	for seq := c.out.base; seq < c.out.next; seq++ {
		f := c.out.frag(seq) // it was not on what the link is now
		f.moved |= f.tried & (1 << i)
		f.tried &^= 1 << i
	}
	l := newLink(now)
	l.state, l.sent, l.acked = c.links[i].state, c.links[i].sent, c.links[i].sent
	c.links[i] = l
}

// weigh finds out which links may be used now.
func (c *Conn) weigh() {
	var good, doubt uint16
	for i := range c.links {
		switch c.links[i].state {
		case Up, Spare:
			good |= 1 << i
		case Doubt:
			doubt |= 1 << i
		}
	}
	if c.open = good; good == 0 {
		c.open = doubt
	}
	c.ways = bits.OnesCount16(c.open)
}

// leave has what flies on a link sent over another one. It is no congestion.
func (c *Conn) leave(i int) {
	for seq := c.out.base; seq < c.out.next; seq++ {
		if f := c.out.frag(seq); f.state == flying && int(f.link) == i {
			c.miss(f)
		}
	}
}

func (c *Conn) giveUpAll() {
	for _, m := range c.out.msgs {
		if !m.done {
			c.giveUp(m)
		}
	}
	// Nobody can be told to skip now; later data tells.
}

// ackWay is the link for an acknowledgement: the one that brought the data, if
// what is sent over it arrives as far as is known, or if the peer asks again.
func (c *Conn) ackWay() int {
	l := &c.links[c.in.ackLink]
	if l.state <= Spare && l.fails == 0 || c.in.repeat || c.ways == 0 {
		return c.in.ackLink
	}
	best := c.in.ackLink
	for i := range c.links {
		if c.open&(1<<i) != 0 && c.links[i].score() < c.links[best].score() {
			best = i
		}
	}
	return best
}
