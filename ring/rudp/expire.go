package rudp

import (
	"time"

	"rain/ring"
)

const (
	// patience is how many send timeouts a message may take at most once it is
	// under way, however steadily its fragments are acknowledged; each
	// perPatience fragments add one. It only ends what would never end.
	patience    = 4
	perPatience = 8
	// maxSkips bounds how often a peer is told to skip; later data tells it too.
	maxSkips = 10
)

// deadline is when the message fails if nothing is heard until then.
func (c *Conn) deadline(m *message) ring.Instant {
	from := max(m.queued, m.clock)
	if !m.whole() {
		from = max(from, c.out.progress)
	}
	at := from.Add(c.cfg.SendTimeout)
	if m.started != 0 {
		most := patience + time.Duration(m.count/perPatience)
		at = min(at, m.started.Add(most*c.cfg.SendTimeout))
	}
	return max(at, m.retryAt)
}

// slept takes out of the silence the time in which the caller did not run: it
// could not have heard anything. Otherwise each pause of ours would be a failure
// of others.
func (s *sender) slept(d time.Duration) {
	s.progress = s.progress.Add(d)
	for _, m := range s.msgs {
		if m.started != 0 {
			m.started, m.clock = m.started.Add(d), m.clock.Add(d)
		} else {
			m.queued = m.queued.Add(d)
		}
	}
}

// expire does what is due at the sending half.
func (c *Conn) expire(now ring.Instant) {
	o := &c.out
	if o.flying > 0 {
		for seq := o.base; seq < o.next; seq++ {
			if f := o.frag(seq); f.state == flying && f.rtoAt <= now {
				c.links[f.link].failed(now)
				c.lose(now, f)
			}
		}
	}
	failed := false
	for _, m := range o.msgs {
		if m.done || c.deadline(m) > now {
			continue
		}
		if again := c.lastTry(now, m); again != 0 && m.putOff < MaxLinks {
			m.retryAt = again
			m.putOff++
			continue
		}
		c.giveUp(m)
		failed = true
	}
	if failed {
		for i := range c.links { // what was learned is of another time
			c.links[i].cwnd, c.links[i].ssthresh = startCwnd, Window
		}
		c.popDone(now)
	}
	if o.skipAt != 0 && o.skipAt <= now {
		c.skip(now)
	}
}

// lastTry says until when a verdict must wait, because a fragment has not been
// on all links yet, or was on the last one only a moment ago; 0: no wait. It
// makes the difference when this process was asleep past the deadline: the
// acknowledgement may lie in the socket.
func (c *Conn) lastTry(now ring.Instant, m *message) ring.Instant {
	var until ring.Instant
	for i := range m.sent {
		f := c.out.frag(m.first + uint64(i))
		if f.state == settled {
			continue
		}
		grace := min(c.cfg.MinRTO, c.cfg.SendTimeout/4)
		if (f.tried|f.moved)&c.open != c.open || f.state == missing && now.Sub(f.sentAt) > c.cfg.SendTimeout/2 {
			until = max(until, now.Add(grace))
		} else if last := f.sentAt.Add(grace); last > now {
			until = max(until, last)
		}
	}
	return until
}

func (c *Conn) giveUp(m *message) {
	for i := range m.sent {
		c.release(c.out.frag(m.first + uint64(i)))
	}
	c.resolve(m, false)
}

// skip tells the peer what not to wait for, with growing pauses.
func (c *Conn) skip(now ring.Instant) {
	o := &c.out
	if o.skips == maxSkips || o.peerCum >= o.base {
		o.skipAt = 0
		return
	}
	link := 0
	for i := range c.links {
		if c.links[i].score() < c.links[link].score() {
			link = i
		}
	}
	for turn := o.skips; turn > 0 || c.ways > 0 && c.open&(1<<link) == 0; turn-- {
		link = (link + 1) % len(c.links)
	}
	c.emit(packet{flags: flagLive, live: o.base}, link)
	o.skipAt = now.Add(c.cfg.InitialRTO << min(o.skips, 6))
	o.skips++
}
