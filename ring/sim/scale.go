package sim

import (
	"fmt"
	"time"

	"rain/ring"
)

// Scale is what one ring of so many members costs and how fast it is, in virtual
// time and on exact clocks: what the protocol takes, without any machine's noise.
type Scale struct {
	Members    int
	Found      time.Duration // from the start of all to one settled view with leases
	Rotation   time.Duration // a trip of the token when nothing is to be done
	Token      int           // its bytes then
	Messages   float64       // per member and second then, acknowledgements not counted
	Bytes      float64       // likewise, before sealing
	Commit     time.Duration // of an op, from proposing it to its answer, median
	Applied    time.Duration // until all members have applied it, likewise
	BusyBytes  float64       // per member and second while an op is always under way
	Dead       Removal       // some member
	DeadHolder Removal       // the one with the token
}

// Removal is the death of one member.
type Removal struct {
	Detected time.Duration // until it is suspected
	View     time.Duration // until all others have delivered the view without it
	Messages int           // of all members together, until then
	Lapsed   int           // members whose lease lapsed meanwhile
}

// Measure makes a ring of n members on a net with this one-way delay.
func Measure(n int, t ring.Timing, delay time.Duration) (Scale, error) {
	s := Scale{Members: n}
	opt := Calm(n, t)
	opt.MinLatency, opt.MaxLatency = delay, delay
	c := New(1, opt, nil)
	for _, node := range c.nodes {
		c.start(node)
	}
	if err := c.settled(&s.Found); err != nil {
		return s, err
	}
	if err := c.Run(3 * time.Second); err != nil { // the ring is idle then
		return s, err
	}
	c.measureIdle(&s)
	if err := c.measureOps(&s); err != nil {
		return s, err
	}
	for _, death := range []struct {
		at  *Removal
		who func() *node
	}{
		{&s.Dead, func() *node { return c.nodes[n/2] }},
		{&s.DeadHolder, c.holder},
	} {
		if err := c.Run(3 * time.Second); err != nil {
			return s, err
		}
		who := death.who()
		if err := c.measureDeath(death.at, who); err != nil {
			return s, err
		}
		c.start(who)
		var back time.Duration
		if err := c.settled(&back); err != nil {
			return s, err
		}
	}
	return s, c.failure()
}

func (c *Cluster) failure() error {
	if c.err != nil {
		return c.err
	}
	return nil
}

func (c *Cluster) settled(took *time.Duration) error {
	from := c.now
	if err := c.RunUntil(30*time.Second, c.Whole); err != nil {
		return err
	}
	*took = time.Duration(c.now - from)
	if !c.Whole() {
		return fmt.Errorf("sim: %d members are not one view within 30s:%s", len(c.nodes), c.states())
	}
	return nil
}

func (c *Cluster) measureIdle(s *Scale) {
	const span = 2 * time.Second
	seq, sent, bytes := c.topSeq(), c.sent, c.sentBytes
	if c.Run(span) != nil {
		return // the caller sees it
	}
	hops := float64(c.topSeq() - seq)
	n := float64(len(c.nodes))
	s.Rotation = time.Duration(float64(span) * n / hops)
	s.Messages = float64(c.sent-sent) / n / span.Seconds()
	s.Bytes = float64(c.sentBytes-bytes) / n / span.Seconds()
	s.Token = c.tokenBytes
}

func (c *Cluster) topSeq() (top uint64) {
	for _, n := range c.nodes {
		top = max(top, n.seen.Copy.Seq)
	}
	return top
}

// measureOps proposes one op after another, each at the next member.
func (c *Cluster) measureOps(s *Scale) error {
	const ops = 20
	for _, all := range []bool{false, true} {
		var sum time.Duration
		from, bytes := c.now, c.sentBytes
		for i := range ops {
			n := c.nodes[i*7%len(c.nodes)]
			start := c.now
			c.propose(n, &proposal{rider: ring.RiderSettings, data: make([]byte, 200), all: all})
			if err := c.stepUntil(func() bool { return len(n.props) == 0 }); err != nil {
				return err
			}
			sum += time.Duration(c.now - start)
		}
		if all {
			s.Applied = sum / ops
			continue
		}
		s.Commit = sum / ops
		s.BusyBytes = float64(c.sentBytes-bytes) / float64(len(c.nodes)) / time.Duration(c.now-from).Seconds()
	}
	return nil
}

func (c *Cluster) measureDeath(r *Removal, dead *node) error {
	detected, from, sent := int64(0), c.now, c.sent
	lapsed := map[ring.NodeID]bool{}
	c.onTrace = func(n *node, t *ring.Trace) {
		if t.Kind == ring.TraceSuspect && detected == 0 {
			detected = c.now
		}
		for _, o := range c.nodes {
			if o.up && o.lease <= o.clock.at(c.now) {
				lapsed[o.id] = true
			}
		}
	}
	defer func() { c.onTrace = nil }()
	was := dead.me
	c.crash(dead)
	err := c.stepUntil(func() bool {
		for _, o := range c.nodes {
			if o.up && o.st.view.Has(was) {
				return false
			}
		}
		return true
	})
	*r = Removal{
		Detected: time.Duration(detected - from), View: time.Duration(c.now - from), Messages: c.sent - sent, Lapsed: len(lapsed),
	}
	return err
}

func (c *Cluster) holder() *node {
	for range 1_000_000 {
		for _, n := range c.nodes {
			if n.up && n.seen.Holding {
				return n
			}
		}
		if c.stepOne() != nil {
			break
		}
	}
	return c.nodes[0]
}

// stepUntil runs event by event until done, for a minute at most.
func (c *Cluster) stepUntil(done func() bool) error {
	for end := c.now + int64(time.Minute); !done(); {
		if c.now > end {
			return fmt.Errorf("sim: not within a minute:%s", c.states())
		}
		if err := c.stepOne(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) stepOne() error {
	if len(c.heap.e) == 0 {
		return fmt.Errorf("sim: nothing is left to happen:%s", c.states())
	}
	ev := c.heap.pop()
	c.now = max(c.now, ev.at)
	c.dispatch(ev)
	return c.failure()
}
