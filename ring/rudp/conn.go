package rudp

import (
	"errors"
	"fmt"
	"time"

	"rain/ring"
)

// Config is what a Conn is told at its start.
type Config struct {
	// Links is how many links lead to the peer, 1 to MaxLinks.
	Links int
	// Payload is how many bytes of a message one packet carries. Default 1200;
	// more saves packets and may be cut by IP on tunnels.
	Payload int
	// SendTimeout is after how much silence a message has failed. Default
	// 30ms; lower finds deaths sooner and mistakes more pauses for deaths.
	SendTimeout time.Duration
	// MinRTO is the shortest wait before a packet is sent again. Default 3ms;
	// lower wastes packets whenever a process is scheduled late.
	MinRTO time.Duration
	// InitialRTO is the wait on a link whose round trip is not known yet.
	// Default 10ms.
	InitialRTO time.Duration
	// PingEvery is how often a silent link is measured. Default 200ms; 0: never.
	PingEvery time.Duration
	// MaxQueue is how many bytes may wait or fly. Default 4 MiB.
	MaxQueue int
}

// DefaultConfig is for a LAN.
func DefaultConfig() Config {
	return Config{
		Links: 1, Payload: 1200, SendTimeout: 30 * time.Millisecond,
		MinRTO: 3 * time.Millisecond, InitialRTO: 10 * time.Millisecond,
		PingEvery: 200 * time.Millisecond, MaxQueue: 4 << 20,
	}
}

// MaxLinks is how many links a Conn can use.
const MaxLinks = 10

const minPayload = ring.MaxMessage/Window + 1

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.Links < 1 || c.Links > MaxLinks {
		errs = append(errs, fmt.Errorf("rudp: %d links; want 1 to %d", c.Links, MaxLinks))
	}
	if c.Payload < minPayload || c.Payload > 60000 {
		errs = append(errs, fmt.Errorf("rudp: payload of %d bytes; want %d to 60000", c.Payload, minPayload))
	}
	if c.SendTimeout < time.Millisecond {
		errs = append(errs, fmt.Errorf("rudp: send timeout %v; want at least 1ms", c.SendTimeout))
	}
	if c.MinRTO <= 0 || c.InitialRTO < c.MinRTO {
		errs = append(errs, fmt.Errorf("rudp: min RTO %v, initial RTO %v; want 0 < min <= initial", c.MinRTO, c.InitialRTO))
	}
	if c.PingEvery < 0 {
		errs = append(errs, fmt.Errorf("rudp: ping every %v; want 0 or more", c.PingEvery))
	}
	if c.MaxQueue < ring.MaxMessage {
		errs = append(errs, fmt.Errorf("rudp: max queue %d bytes; want at least one message, %d", c.MaxQueue, ring.MaxMessage))
	}
	return errors.Join(errs...)
}

// Datagram is a packet for one link.
type Datagram struct {
	Link   int
	Packet []byte // valid until the next call of the Conn
}

// Verdict tells how a Send ended.
type Verdict struct {
	Ref uint64
	OK  bool
}

// Effects are what the caller must do after a call. The slices are the Conn's
// and valid until its next call; a delivered message is the caller's for good.
type Effects struct {
	Deliver  [][]byte
	Verdicts []Verdict
	Send     []Datagram
	Wake     ring.Instant // call Tick then; 0: no need
}

// Conn is one end. It is not safe for concurrent use.
type Conn struct {
	cfg   Config
	links []link
	out   sender
	in    receiver
	eff   Effects
	buf   []byte // the packets of the last call, one behind the other
	turn  int    // spreads packets over equal links
	open  uint16 // links that may be used, as bits
	ways  int    // how many they are; 0: nothing can be sent
}

// New makes a Conn for a peer that has none for us yet.
func New(cfg Config, now ring.Instant) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Conn{cfg: cfg}
	c.makeLinks(now)
	return c, nil
}

// Send takes a message; msg belongs to the Conn from now on. With ref 0 no
// verdict is wanted.
func (c *Conn) Send(now ring.Instant, ref uint64, msg []byte) Effects {
	c.begin()
	c.enqueue(now, ref, msg)
	return c.finish(now)
}

// Receive takes a packet that came over a link. The packet is not kept. The
// error is ErrMalformed or nil; the effects hold in both cases.
func (c *Conn) Receive(now ring.Instant, from int, b []byte) (Effects, error) {
	c.begin()
	var p packet
	if from < 0 || from >= len(c.links) {
		from = 0
	}
	if err := p.parse(b); err != nil {
		return c.finish(now), err
	}
	if p.has(flagAck) {
		c.acked(now, from, &p)
	}
	if p.has(flagPong) {
		c.links[from].pong(now, p.pong)
	}
	if p.has(flagLive) {
		c.in.skipTo(p.live, &c.eff)
		if !p.has(flagData) {
			c.in.ackNow(from)
		}
	}
	if p.has(flagData) {
		c.in.data(now, from, &p, &c.eff)
	}
	if p.has(flagPing) {
		c.emit(packet{flags: flagPong, pong: p.ping}, from)
	}
	return c.finish(now), nil
}

// Tick does what is due. Early and late calls are fine.
func (c *Conn) Tick(now ring.Instant) Effects {
	if late := now.Sub(c.eff.Wake); c.eff.Wake != 0 && late > c.cfg.MinRTO {
		c.out.slept(late)
	}
	c.begin()
	c.expire(now)
	for i := range c.links {
		if c.links[i].pingDue(now, c.cfg.PingEvery) {
			c.emit(packet{flags: flagPing, ping: uint64(now)}, i)
		}
	}
	return c.finish(now)
}

// Abort gives up all that was not acknowledged. The Conn is of no use after it.
func (c *Conn) Abort() []Verdict {
	c.begin()
	for _, m := range c.out.msgs {
		if !m.done {
			c.resolve(m, false)
		}
	}
	c.out.msgs = nil
	return c.eff.Verdicts
}

// SetLinks changes the number of links, because the peer's addresses changed.
// What was measured starts anew.
func (c *Conn) SetLinks(now ring.Instant, n int) {
	c.cfg.Links = min(max(n, 1), MaxLinks)
	c.makeLinks(now)
	c.links[0].flying = c.out.flying
	for seq := c.out.base; seq < c.out.next; seq++ {
		f := c.out.frag(seq)
		f.link, f.tried, f.number = 0, 0, 0
	}
	c.in.ackLink = 0
}

func (c *Conn) makeLinks(now ring.Instant) {
	c.links = make([]link, c.cfg.Links)
	for i := range c.links {
		c.links[i] = newLink(now)
	}
	c.weigh()
}

// LinkInfo is what is known of a link.
type LinkInfo struct {
	RTT   time.Duration // smoothed; 0: not measured yet
	Loss  float64       // share of packets lost lately, 0 to 1
	Heard ring.Instant  // when the last answer to something sent over it came; 0: never
	State State         // as reported
	Fails int           // packets in a row without an answer
	Queue int           // fragments on their way
}

// Link tells what is known of link i.
func (c *Conn) Link(i int) LinkInfo {
	l := &c.links[i]
	return LinkInfo{RTT: l.srtt, Loss: l.loss, Heard: l.heard, State: l.state, Fails: l.fails, Queue: l.flying}
}

func (c *Conn) begin() {
	clear(c.eff.Deliver)
	c.eff = Effects{Deliver: c.eff.Deliver[:0], Verdicts: c.eff.Verdicts[:0], Send: c.eff.Send[:0]}
	c.buf = c.buf[:0]
}

// finish sends what may be sent, with the acknowledgement on the first packet
// of it, and sets the alarm.
func (c *Conn) finish(now ring.Instant) Effects {
	c.flush(now)
	if c.in.due(now) {
		p := packet{flags: flagAck}
		c.in.fill(&p)
		c.emit(p, c.ackWay())
	}
	c.eff.Wake = c.wake()
	return c.eff
}

func (c *Conn) emit(p packet, link int) {
	at := len(c.buf)
	c.buf = p.appendTo(c.buf)
	c.eff.Send = append(c.eff.Send, Datagram{Link: link, Packet: c.buf[at:len(c.buf):len(c.buf)]})
}

func (c *Conn) wake() ring.Instant {
	w := sooner(c.in.ackAt, c.out.skipAt)
	if c.out.flying > 0 {
		for seq := c.out.base; seq < c.out.next; seq++ {
			if f := c.out.frag(seq); f.state == flying {
				w = sooner(w, f.rtoAt)
			}
		}
	}
	for _, m := range c.out.msgs {
		if !m.done {
			w = sooner(w, c.deadline(m))
			if !m.whole() {
				break // those behind wait, and started no earlier
			}
		}
	}
	if c.cfg.PingEvery > 0 {
		for i := range c.links {
			w = sooner(w, c.links[i].pingAt)
		}
	}
	return w
}

// sooner is the earlier of two alarms; 0 is none.
func sooner(a, b ring.Instant) ring.Instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
