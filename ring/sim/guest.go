package sim

import (
	"bytes"
	"math/rand/v2"

	"rain/ring"
)

// Guest is an upper layer's rider that takes part in a run, so that its own
// guarantees are tried under the ring's faults. Its snapshots travel and lie on
// disks as those of real riders do. The simulator itself holds guests to one
// thing: wherever the same entries of one generation are applied, snapshots are
// equal, byte for byte (invariant 2).
type Guest interface {
	ring.Rider
	// Work is an op that the layer proposes now, nil: none. It draws from rng and
	// knows nothing else of chance or time.
	Work(rng *rand.Rand, me ring.Member) (op []byte, durable bool)
	// Resolved hears that an op of Work is applied here and, if it was durable,
	// on a quorum's disks.
	Resolved(op []byte, durable bool)
	// Check is called after each delivery; an error breaks invariant 2.
	Check(view ring.View) error
}

// seat makes the guest of a process and restores it from n.st.
func (c *Cluster) seat(n *node) {
	if c.opt.Guest == nil {
		return
	}
	n.guest = c.opt.Guest(n.i)
	if n.st.guest == nil {
		return
	}
	if err := n.guest.Restore(bytes.NewReader(n.st.guest)); err != nil {
		c.fail(2, "n%d restores its guest: %v", n.i+1, err)
	}
	n.st.guest = nil
}

// capture is the state of n's riders as a snapshot has it.
func (c *Cluster) capture(n *node) state {
	st := n.st
	if n.guest != nil {
		st.guest = c.dumpGuest(n)
	}
	return st
}

func (c *Cluster) dumpGuest(n *node) []byte {
	var b bytes.Buffer
	if err := n.guest.Snapshot(&b); err != nil {
		c.fail(2, "n%d writes its guest's snapshot: %v", n.i+1, err)
	}
	return b.Bytes()
}

// guestDelivered gives an entry to the guest and compares it with others'.
func (c *Cluster) guestDelivered(n *node, d *ring.Delivery) {
	if n.guest == nil {
		return
	}
	switch d.Rider {
	case ring.RiderViews:
		n.guest.View(d.Index, d.View, d.FreeAt)
	case ring.RiderQueue:
		n.guest.Apply(d.Index, d.From, bytes.Clone(d.Data))
	default:
		return
	}
	if err := n.guest.Check(n.st.view); err != nil {
		c.fail(2, "n%d at index %d: %v", n.i+1, d.Index, err)
	}
	h := c.check.gen(n.gen())
	h.guest = grow(h.guest, d.Index)
	sum := hashBytes(0, c.dumpGuest(n))
	if old := h.guest[d.Index]; old != 0 && old != sum {
		c.fail(2, "n%d's guest differs from others' at index %d", n.i+1, d.Index)
	}
	h.guest[d.Index] = sum
}

// guestWork lets the guest propose.
func (c *Cluster) guestWork(n *node) {
	if n.guest == nil {
		return
	}
	if op, durable := n.guest.Work(c.guestRng, n.me); op != nil {
		c.propose(n, &proposal{rider: ring.RiderQueue, data: op, durable: durable})
	}
}

// Guests are the guests of the processes that are up.
func (c *Cluster) Guests() []Guest {
	var out []Guest
	for _, n := range c.nodes {
		if n.up && n.guest != nil {
			out = append(out, n.guest)
		}
	}
	return out
}
