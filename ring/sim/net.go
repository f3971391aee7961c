package sim

import (
	"bytes"
	"time"

	"rain/ring"
)

// packet is a message under way, with all its retransmissions.
type packet struct {
	ch        *channel
	src, dst  int
	srcLife   int
	from, to  ring.Member
	bytes     []byte
	token     bool
	ref       uint64
	until     int64 // the sender gives up then
	ackLost   bool
	late      time.Duration // not 0: arrives once, after so long
	arrived   int           // the life of the receiver that has it; 0: none
	delivered bool
	closed    bool // verdict given
}

// channel keeps the order of one process's messages to one node: a message
// waits until those before it are delivered or given up.
type channel struct{ queue []*packet }

// send puts a message on the wire. A node nobody knows is never reached.
func (c *Cluster) send(n *node, env ring.Envelope) {
	p := c.room.packet()
	*p = packet{
		src: n.i, dst: c.index(env.To.ID), srcLife: n.life, from: n.me, to: env.To, ref: env.Ref,
		bytes: c.room.keep(c.encode(env.Msg, c.wire(n.i, c.index(env.To.ID)))),
		until: n.clock.when(n.clock.at(c.now).Add(c.opt.Timing.SendTimeout)),
	}
	c.sent++
	c.sentBytes += len(p.bytes)
	if t, ok := env.Msg.(*ring.Token); ok {
		p.token = true
		c.tokenBytes = len(p.bytes)
		c.checkTokenSent(n, t, p.bytes)
	}
	if c.trace != nil && c.verbose {
		c.tracef(n.i, "send %s to %s", describe(env.Msg), c.name(env.To))
	}
	if p.dst < 0 || env.To == n.me {
		c.fail(7, "n%d sends %T to %s, which is nobody else", n.i+1, env.Msg, env.To)
		return
	}
	if p.dst == n.i { // an older life of its own
		p.ch = n.out[p.dst]
		c.push(event{at: p.until, kind: evAttempt, node: p.src, life: p.srcLife, pkt: p})
		return
	}
	if c.faults {
		c.roll(p)
	}
	if c.hook != nil {
		c.hook(p, env.Msg)
	}
	p.ch = n.out[p.dst]
	p.ch.queue = append(p.ch.queue, p)
	c.attempt(p, true)
	if p.token && c.faults && c.opt.Strike > 0 && c.rng.Float64() < c.opt.Strike {
		c.strike(p)
	}
}

// room is where packets and their bytes lie: many in one piece of memory each, for
// they come and go by the thousand.
type room struct {
	buf     []byte // of the message that is written now
	bytes   []byte // what is left of a piece
	packets []packet
}

// keep is b, in memory that nobody else has.
func (r *room) keep(b []byte) []byte {
	if len(r.bytes) < len(b) {
		r.bytes = make([]byte, max(16<<10, len(b)))
	}
	n := copy(r.bytes, b)
	p := r.bytes[:n:n]
	r.bytes = r.bytes[n:]
	return p
}

// packet is one that is not used yet.
func (r *room) packet() *packet {
	if len(r.packets) == 0 {
		r.packets = make([]packet, 64)
	}
	p := &r.packets[0]
	r.packets = r.packets[1:]
	return p
}

// encode is the wire form of a message; it is good until the next.
func (c *Cluster) encode(m ring.Message, version int) []byte {
	c.room.buf = ring.AppendMessageAs(c.room.buf[:0], m, version)
	return c.room.buf
}

// wire is the version in which two nodes talk.
func (c *Cluster) wire(i, j int) int {
	if c.opt.OldWire>>i&1 == 1 || j >= 0 && c.opt.OldWire>>j&1 == 1 {
		return ring.WireOldest
	}
	return ring.WireVersion
}

// aggressive is the detection of n. A release that speaks the oldest version knows
// no doubts: one failure is enough for it.
func (c *Cluster) aggressive(n *node) bool {
	return c.opt.Aggressive || c.opt.OldWire>>n.i&1 == 1
}

// roll draws the fate of a message.
func (c *Cluster) roll(p *packet) {
	if c.opt.Late > 0 && c.rng.Float64() < c.opt.Late {
		p.late = time.Duration(1 + c.rng.Int64N(int64(8*c.opt.Timing.SendTimeout)))
	}
	if c.opt.AckLoss > 0 && c.rng.Float64() < c.opt.AckLoss {
		p.ackLost = true
	}
}

func (c *Cluster) latency() int64 {
	d := int64(c.opt.MaxLatency - c.opt.MinLatency)
	if d > 0 {
		d = c.rng.Int64N(d)
	}
	return int64(c.opt.MinLatency) + d
}

// passes says whether a datagram from i to j gets through now.
func (c *Cluster) passes(i, j int) bool {
	if c.cut[i][j] > c.now {
		return false
	}
	return !c.faults || c.opt.Loss == 0 || c.rng.Float64() >= c.opt.Loss
}

func (c *Cluster) attempt(p *packet, first bool) {
	n := c.nodes[p.src]
	if p.closed || n.life != p.srcLife || !n.up {
		return
	}
	if c.now >= p.until {
		c.verdict(p, false)
		return
	}
	switch {
	case p.late > 0 && first:
		c.push(event{at: c.now + int64(p.late), kind: evArrive, node: p.dst, pkt: p})
	case p.late == 0 && c.passes(p.src, p.dst):
		c.push(event{at: c.now + c.latency(), kind: evArrive, node: p.dst, pkt: p})
	}
	again := min(c.now+int64(c.opt.Timing.SendTimeout)/5, p.until)
	c.push(event{at: again, kind: evAttempt, node: p.src, life: p.srcLife, pkt: p})
}

// arrive is a packet at the socket of a process that runs.
func (c *Cluster) arrive(n *node, p *packet) {
	if p.delivered {
		c.ack(p)
		return
	}
	if p.arrived == n.life || p.to.Inc != 0 && p.to.Inc != n.me.Inc {
		return
	}
	if p.from.Inc < n.known[p.src] && !(c.opt.OldInc > 0 && c.faults && c.rng.Float64() < c.opt.OldInc) {
		c.Count.OldDropped++
		return
	}
	n.known[p.src] = max(n.known[p.src], p.from.Inc)
	p.arrived = n.life
	if p.closed { // after its verdict, out of order
		c.Count.LateDelivered++
		c.deliver(n, p)
		return
	}
	c.flush(p.ch)
}

// flush delivers what is at the head of a channel.
func (c *Cluster) flush(ch *channel) {
	for len(ch.queue) > 0 {
		p := ch.queue[0]
		n := c.nodes[p.dst]
		if !p.delivered && !p.closed && (p.to.Inc == 0 || p.to.Inc == n.me.Inc) {
			if p.arrived == 0 || p.arrived != n.life || !n.up || n.paused {
				return
			}
			ch.queue = ch.queue[1:]
			c.deliver(n, p)
			continue
		}
		ch.queue = ch.queue[1:]
	}
}

func (c *Cluster) deliver(n *node, p *packet) {
	p.delivered = true
	c.ack(p)
	msg, err := ring.ParseMessage(p.bytes)
	if err != nil {
		c.fail(7, "n%d sent what does not parse: %v", p.src+1, err)
		return
	}
	if c.rng.IntN(64) == 0 && !bytes.Equal(c.encode(msg, int(p.bytes[0])), p.bytes) {
		c.fail(7, "%T is not written back as it was read", msg)
	}
	if p.to.Inc != 0 && p.to.Inc != n.me.Inc { // renamed while the packet waited
		return
	}
	c.step(n, ring.Received{From: p.from, Msg: msg})
}

func (c *Cluster) ack(p *packet) {
	if p.closed || p.ackLost || !c.passes(p.dst, p.src) {
		return
	}
	c.push(event{at: c.now + c.latency(), kind: evAck, node: p.src, life: p.srcLife, pkt: p})
}

// verdict tells the sender what became of its message.
func (c *Cluster) verdict(p *packet, ok bool) {
	if p.closed {
		return
	}
	p.closed = true
	if !ok && p.delivered {
		c.Count.Unacked++
	}
	n := c.nodes[p.src]
	if p.ref != 0 && n.up && n.life == p.srcLife {
		c.step(n, ring.SendDone{Ref: p.ref, OK: ok})
	}
	c.flush(p.ch)
}
