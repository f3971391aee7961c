package rudp

import "rain/ring"

// The congestion window counts fragments. It starts with what the smallest
// usual socket buffer takes, and never falls below what keeps a link busy.
const (
	startCwnd = 32
	minCwnd   = 16
	// reorder is how many fragments sent later over the same link must be
	// acknowledged before an earlier one counts as lost.
	reorder = 3
	// maxMessages bounds how many messages wait or fly.
	maxMessages = 4096
)

type fragState uint8

const (
	settled fragState = iota // acknowledged or given up
	flying
	missing // to be sent again
)

// fragment is one fragment that was sent at least once.
type fragment struct {
	msg    *message
	state  fragState
	tried  uint16 // links, as bits
	moved  uint16 // links that it was on before they led another way
	link   uint8  // the last one
	tries  int
	number uint64 // of the last transmission, on its link
	// overtaken: it counts as lost because later ones arrived.
	overtaken bool
	sentAt    ring.Instant
	rtoAt     ring.Instant
}

type message struct {
	ref     uint64
	data    []byte
	first   uint64 // sequence number of fragment 0
	count   int
	sent    int // fragments sent at least once
	acked   int
	done    bool
	queued  ring.Instant
	started ring.Instant // first sent; 0: not yet
	clock   ring.Instant // first sent, or last acknowledged in part
	retryAt ring.Instant // the verdict was put off until then
	putOff  int          // and so many times; bounded
}

func (m *message) whole() bool { return m.sent == m.count }

// sender is the sending half. Sequence numbers: base <= next <= end.
type sender struct {
	base     uint64 // first fragment of the oldest message that is not done
	next     uint64 // first fragment never sent
	end      uint64 // first number not given to a message
	msgs     []*message
	frags    [Window]fragment
	flying   int
	missing  int
	bytes    int          // of messages not done
	progress ring.Instant // when anything was last acknowledged
	peerCum  uint64       // the peer misses this one
	skipAt   ring.Instant
	skips    int
}

func (s *sender) frag(seq uint64) *fragment { return &s.frags[seq%Window] }

func (c *Conn) enqueue(now ring.Instant, ref uint64, msg []byte) {
	o := &c.out
	if c.ways == 0 || len(msg) > ring.MaxMessage || o.bytes+len(msg) > c.cfg.MaxQueue || len(o.msgs) >= maxMessages {
		if ref != 0 {
			c.eff.Verdicts = append(c.eff.Verdicts, Verdict{Ref: ref})
		}
		return
	}
	count := max(1, (len(msg)+c.cfg.Payload-1)/c.cfg.Payload)
	o.msgs = append(o.msgs, &message{ref: ref, data: msg, first: o.end, count: count, queued: now})
	o.end += uint64(count)
	o.bytes += len(msg)
}

// flush sends what is missing, then what is new, as far as the windows allow.
func (c *Conn) flush(now ring.Instant) {
	o := &c.out
	for seq := o.base; o.missing > 0 && seq < o.next; seq++ {
		f := o.frag(seq)
		if f.state != missing {
			continue
		}
		i := c.pick(f)
		if i < 0 {
			return
		}
		o.missing--
		c.transmit(now, seq, f, i)
	}
	if o.next == o.end {
		return
	}
	for _, m := range o.msgs {
		if m.done || m.whole() {
			continue
		}
		for m.sent < m.count {
			seq := m.first + uint64(m.sent)
			if seq >= o.base+Window {
				return
			}
			i := c.pick(&fragment{})
			if i < 0 {
				return
			}
			if m.sent == 0 {
				m.started, m.clock = now, now
			}
			m.sent++
			o.next = seq + 1
			f := o.frag(seq)
			*f = fragment{msg: m}
			c.transmit(now, seq, f, i)
		}
	}
}

// transmit sends a fragment over link i.
func (c *Conn) transmit(now ring.Instant, seq uint64, f *fragment, i int) {
	l := &c.links[i]
	l.sent++
	l.flying++
	f.state, f.link, f.number, f.sentAt = flying, uint8(i), l.sent, now
	f.tried |= 1 << i
	f.tries++
	f.overtaken = false
	f.rtoAt = now.Add(c.rto(l, f.tries))
	c.out.flying++
	n := int(seq - f.msg.first)
	from := n * c.cfg.Payload
	p := packet{
		flags: flagLive | flagData, live: c.out.base, seq: seq, frag: uint16(n), count: uint16(f.msg.count),
		payload: f.msg.data[from:min(from+c.cfg.Payload, len(f.msg.data))],
	}
	if c.in.owed && c.ackWay() == i {
		p.flags |= flagAck
		c.in.fill(&p)
	}
	c.emit(p, i)
}

// acked takes the peer's acknowledgement.
func (c *Conn) acked(now ring.Instant, from int, p *packet) {
	o := &c.out
	if p.cum > o.next {
		return // of what was never sent: a liar, or nonsense
	}
	o.peerCum = max(o.peerCum, p.cum)
	if o.peerCum >= o.base {
		o.skipAt = 0
	}
	var last *fragment
	n := 0
	var by [MaxLinks]int
	take := func(seq uint64) {
		if f := o.frag(seq); f.state != settled {
			n++
			by[f.link]++
			c.settle(now, f)
			if f.tried == 1<<f.link && f.moved == 0 && (last == nil || f.sentAt >= last.sentAt) {
				last = f
			}
		}
	}
	for seq := o.base; seq < min(p.cum, o.next); seq++ {
		take(seq)
	}
	for w := range p.words {
		for bits, i := p.bits[w], 0; bits != 0; bits, i = bits>>1, i+1 {
			if seq := p.cum + 1 + uint64(64*w+i); bits&1 != 0 && seq >= o.base && seq < o.next {
				take(seq)
			}
		}
	}
	if n == 0 {
		return
	}
	o.progress = now
	if last != nil {
		// It went over this link only, so it arrived by it, whichever way the
		// answer came.
		l := &c.links[last.link]
		l.answered(now)
		if last.tries == 1 && int(last.link) == from { // else it is not known which one was answered
			l.sample(now.Sub(last.sentAt))
		}
	}
	for i := range c.links {
		c.links[i].grow(by[i])
	}
	c.detectLoss(now)
	c.popDone(now)
}

// settle counts one fragment as acknowledged.
func (c *Conn) settle(now ring.Instant, f *fragment) {
	c.release(f)
	l := &c.links[f.link]
	l.acked = max(l.acked, f.number)
	m := f.msg
	m.acked++
	m.clock = now
	m.retryAt = 0
	if m.acked == m.count && !m.done {
		c.resolve(m, true)
	}
}

func (c *Conn) release(f *fragment) {
	switch f.state {
	case flying:
		c.out.flying--
		c.links[f.link].flying--
	case missing:
		c.out.missing--
	}
	f.state = settled
}

func (c *Conn) resolve(m *message, ok bool) {
	m.done = true
	c.out.bytes -= len(m.data)
	m.data = nil
	if m.ref != 0 {
		c.eff.Verdicts = append(c.eff.Verdicts, Verdict{Ref: m.ref, OK: ok})
	}
}

// grow widens the window after n fragments arrived, but only if it was the window
// that held us back.
func (l *link) grow(n int) {
	if n == 0 || l.flying+n < int(l.cwnd)/2 {
		return
	}
	if l.cwnd < l.ssthresh {
		l.cwnd += float64(n)
	} else {
		l.cwnd += float64(n) / l.cwnd
	}
	l.cwnd = min(l.cwnd, Window)
}

// miss marks a fragment for another try.
func (c *Conn) miss(f *fragment) {
	f.state = missing
	c.out.flying--
	c.out.missing++
	c.links[f.link].flying--
}

// lose is miss for a loss on the way; one burst of losses cuts the window once.
func (c *Conn) lose(now ring.Instant, f *fragment) {
	c.miss(f)
	l := &c.links[f.link]
	l.lost()
	if f.sentAt > l.cut {
		l.cwnd = max(l.cwnd/2, minCwnd)
		l.ssthresh = l.cwnd
		l.cut = now
	}
}

func (c *Conn) detectLoss(now ring.Instant) {
	o := &c.out
	if o.flying == 0 {
		return
	}
	for seq := o.base; seq < o.next; seq++ {
		f := o.frag(seq)
		if f.state != flying {
			continue
		}
		// Also overdue: links that reorder must not cost a second copy of all.
		if l := &c.links[f.link]; f.number+reorder <= l.acked && now.Sub(f.sentAt) > l.srtt+2*l.rttvar {
			f.overtaken = true
			c.lose(now, f)
		}
	}
}

// popDone moves base over what is done, and has the peer told if it still waits
// for something given up.
func (c *Conn) popDone(now ring.Instant) {
	o := &c.out
	n := 0
	for n < len(o.msgs) && o.msgs[n].done {
		n++
	}
	if n == 0 {
		return
	}
	clear(o.msgs[:n])
	o.msgs = o.msgs[n:]
	if len(o.msgs) == 0 {
		o.msgs = nil
		o.base = o.end
	} else {
		o.base = o.msgs[0].first
	}
	o.next = max(o.next, o.base)
	if o.peerCum < o.base && o.skipAt == 0 {
		o.skips = 0
		o.skipAt = now
	}
}
