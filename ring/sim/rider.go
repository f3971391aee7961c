package sim

import (
	"rain/ring"
)

const things = 4

// state is what all members agree on: a chain of hashes over every delivered
// entry, and who owns which thing. It is a value: a copy is a snapshot.
type state struct {
	index uint64
	chain uint64
	view  ring.View // newest delivered; its members are never changed
	owner [things]ring.Member
	guest []byte // its snapshot, in states that lie on a disk or travel
}

// Ops of the riders. RiderVIP: a thing changes hands. All others: bytes that
// only the chain keeps.
const (
	opOwn  = 1
	opFree = 2
)

// mix folds a word into a hash (the finaliser of splitmix64).
func mix(h, w uint64) uint64 {
	h = (h ^ w) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func hashBytes(h uint64, b []byte) uint64 {
	h = mix(h, uint64(len(b)))
	for len(b) >= 8 {
		h = mix(h, uint64(b[0])|uint64(b[1])<<8|uint64(b[2])<<16|uint64(b[3])<<24|
			uint64(b[4])<<32|uint64(b[5])<<40|uint64(b[6])<<48|uint64(b[7])<<56)
		b = b[8:]
	}
	var w uint64
	for i, x := range b {
		w |= uint64(x) << (8 * i)
	}
	return mix(h, w)
}

// hashDelivery is the content of an entry.
func hashDelivery(d *ring.Delivery) uint64 {
	if d.Rider == ring.RiderViews {
		h := mix(1, d.View.Number)
		for _, m := range d.View.Members {
			h = mix(mix(mix(h, uint64(m.ID)), uint64(m.Inc)), m.Since)
		}
		return h
	}
	h := mix(mix(mix(mix(2, uint64(d.From.ID)), uint64(d.From.Inc)), d.N), uint64(d.Rider))
	return hashBytes(h, d.Data)
}

// apply changes the state by one delivery. It reports whether d gave a thing
// to a new owner, and which.
func (s *state) apply(d *ring.Delivery) (thing int, own bool) {
	s.index = d.Index
	s.chain = mix(s.chain, hashDelivery(d))
	switch {
	case d.Rider == ring.RiderViews:
		s.view = d.View
	case d.Rider == ring.RiderVIP && len(d.Data) == 2 && int(d.Data[1]) < things:
		x := int(d.Data[1])
		o := s.owner[x]
		switch {
		case d.Data[0] == opFree && o == d.From:
			s.owner[x] = ring.Member{}
		case d.Data[0] == opOwn && (o.IsZero() || !s.view.Has(o)):
			s.owner[x] = d.From
			return x, true
		}
	}
	return 0, false
}

// orphan says whether a thing can be had.
func (s *state) orphan(x int) bool {
	return s.owner[x].IsZero() || !s.view.Has(s.owner[x])
}

// holding is one node's side of a thing.
type holding struct {
	actFrom   ring.Instant // not before, by the node's clock
	releasing bool         // it has proposed to free it and does not act any more
	// The open interval of true time in which the node acts. It is empty if
	// to <= from.
	from, to int64
}

// ghost is the interval of a process that died: the kernel may answer on.
type ghost struct {
	node, thing int
	from, to    int64
}

// acts brings the intervals of n up to date after a step.
func (c *Cluster) acts(n *node) {
	for x := range things {
		h := &n.hold[x]
		var from, to int64
		if n.up && n.st.owner[x] == n.me && !h.releasing && n.lease != 0 {
			from = max(c.now, n.clock.when(h.actFrom))
			to = n.clock.when(n.lease)
		}
		if to == h.to && (to == 0 || from == h.from || from == c.now && h.from <= c.now) {
			continue // as before
		}
		c.realised(n.i, x, h.from, min(h.to, c.now))
		h.from, h.to = from, to
		if to > from {
			c.Count.Acts++
		}
	}
}

// realised compares an interval in which node i did act on x with all others.
func (c *Cluster) realised(i, x int, from, to int64) {
	if to <= from {
		return
	}
	for _, o := range c.nodes {
		if o.i == i {
			continue
		}
		f, t := max(from, o.hold[x].from), min(to, o.hold[x].to, c.now)
		if f < t {
			c.fail(3, "n%d and n%d both act on thing %d from %s to %s", i+1, o.i+1, x, stamp(f), stamp(t))
		}
	}
	for _, g := range c.ghosts {
		f, t := max(from, g.from), min(to, g.to)
		if g.thing == x && g.node != i && f < t {
			c.fail(3, "n%d acts on thing %d from %s to %s while what n%d left behind does", i+1, x, stamp(f), stamp(t), g.node+1)
		}
	}
}

// bury turns what a dying process does into ghosts and clears old ones.
func (c *Cluster) bury(n *node) {
	for x := range things {
		h := &n.hold[x]
		if h.to > h.from {
			c.ghosts = append(c.ghosts, ghost{n.i, x, h.from, h.to})
		}
		c.realised(n.i, x, h.from, min(h.to, c.now))
		*h = holding{}
	}
	keep := c.ghosts[:0]
	for _, g := range c.ghosts {
		if g.to > c.now {
			keep = append(keep, g)
			continue
		}
		c.realised(g.node, g.thing, g.from, g.to)
	}
	c.ghosts = keep
}
