package sim

import (
	"errors"

	"rain/ring"
)

// proposal is one that waits for its answer.
type proposal struct {
	at      int64
	from    ring.Member
	rider   ring.RiderID
	data    []byte
	durable bool
	all     bool
}

// thing is the thing that a lock op is about, or -1.
func (p *proposal) thing() int {
	if p.rider == ring.RiderVIP {
		return int(p.data[1])
	}
	return -1
}

func (c *Cluster) nextWork(n *node) {
	c.push(event{at: c.now + 1 + c.exp(c.opt.ProposeEvery), kind: evPropose, node: n.i, life: n.life})
}

// work is what a client asks of a node now and then.
func (c *Cluster) work(n *node) {
	if !c.busy {
		return
	}
	c.nextWork(n)
	if n.leaves || len(n.props) > 16 {
		return
	}
	c.guestWork(n)
	r := c.rng.IntN(100)
	switch {
	case r < 45:
		size := 1 + c.rng.IntN(40)
		if c.faults && c.opt.BigOps > 0 && c.rng.Float64() < c.opt.BigOps {
			size = 1 + c.rng.IntN(ring.MaxOp/2)
		}
		p := &proposal{rider: ring.RiderSettings, data: make([]byte, size)}
		for i := range min(size, 40) {
			p.data[i] = byte(c.rng.Uint32())
		}
		p.durable, p.all = c.rng.IntN(4) == 0, c.rng.IntN(8) == 0
		c.propose(n, p)
	case r < 48:
		c.step(n, ring.SetRow{Data: []byte{byte(r), byte(n.i)}})
	default:
		x := c.rng.IntN(things)
		switch {
		case n.st.owner[x] == n.me && c.rng.IntN(4) > 0:
			c.release(n, x)
		case n.st.orphan(x) || c.rng.IntN(4) == 0:
			c.propose(n, &proposal{rider: ring.RiderVIP, data: []byte{opOwn, byte(x)}})
		}
	}
}

// release stops acting first and frees the thing then.
func (c *Cluster) release(n *node, x int) {
	if n.hold[x].releasing {
		return
	}
	n.hold[x].releasing = true
	c.acts(n)
	c.propose(n, &proposal{rider: ring.RiderVIP, data: []byte{opFree, byte(x)}})
}

func (c *Cluster) propose(n *node, p *proposal) uint64 {
	p.at, p.from = c.now, n.me
	k := n.nextN
	n.nextN++
	n.props[k] = p
	c.tracef(n.i, "propose %d", k)
	c.step(n, ring.Propose{N: k, Rider: p.rider, Data: p.data, Durable: p.durable, All: p.all})
	return k
}

// delivered applies one entry to the riders of n.
func (c *Cluster) delivered(n *node, d *ring.Delivery) {
	if d.Index != n.st.index+1 {
		c.fail(2, "n%d is given index %d after %d", n.i+1, d.Index, n.st.index)
		return
	}
	if d.Rider == ring.RiderViews {
		n.free = d.FreeAt // covers all changes below it
		c.tracef(n.i, "deliver %d: %s", d.Index, c.viewName(d.View))
	}
	if x, own := n.st.apply(d); own && d.From == n.me {
		n.hold[x].actFrom, n.hold[x].releasing = n.free, n.leaves
	}
	c.checkDelivered(n, d)
	c.guestDelivered(n, d)
	if d.Rider == ring.RiderViews && c.busy && !n.leaves {
		c.grab(n)
	}
}

// grab has a node ask at once for what a view change has orphaned.
func (c *Cluster) grab(n *node) {
	for x := range things {
		if n.st.orphan(x) && c.rng.IntN(2) == 0 {
			c.push(event{at: c.now, kind: evGrab, node: n.i, life: n.life, num: uint64(x)})
		}
	}
}

// resolved takes the answer to a proposal.
func (c *Cluster) resolved(n *node, r ring.Resolution) {
	p := n.props[r.N]
	if p == nil {
		c.fail(6, "n%d answers proposal %d, which does not wait", n.i+1, r.N)
		return
	}
	delete(n.props, r.N)
	if c.trace != nil {
		c.tracef(n.i, "resolved %d: index %d, %s", r.N, r.Index, errName(r.Err))
	}
	switch {
	case r.Err == nil:
		c.checkResolved(n, p, r)
		if p.rider == ring.RiderQueue && n.guest != nil {
			n.guest.Resolved(p.data, p.durable)
		}
	case errors.Is(r.Err, ring.ErrNotPrimary):
		c.Count.NotPrimary++
		if x := p.thing(); x >= 0 && p.data[0] == opFree && !n.leaves {
			n.hold[x].releasing = false // nothing was proposed: it is still ours
			c.acts(n)
		}
	case errors.Is(r.Err, ring.ErrOutcomeUnknown):
		c.Count.Unknown++
	default:
		c.fail(6, "n%d answers proposal %d with %v", n.i+1, r.N, r.Err)
	}
}

func errName(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ring.ErrNotPrimary):
		return "not primary"
	case errors.Is(err, ring.ErrOutcomeUnknown):
		return "outcome unknown"
	}
	return err.Error()
}
