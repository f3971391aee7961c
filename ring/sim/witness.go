package sim

import "rain/ring"

// witness is the register that policy witness rests on: for each view the member
// that asked first.
type witness struct {
	named map[ring.WitnessAsk]ring.NodeID
	away  bool
	asked uint64
}

func (c *Cluster) policy() ring.Policy {
	if c.opt.Witness {
		return ring.PolicyWitness
	}
	return ring.PolicyDynamic
}

// askWitness answers after a round trip, unless the question or its answer is
// lost: then it may have named somebody who never learns it.
func (c *Cluster) askWitness(n *node, q ring.WitnessAsk) {
	w := &c.witness
	w.asked++
	lost := w.away || c.rng.Float64() < c.opt.WitnessFail
	if lost && (w.away || c.rng.IntN(2) == 0) {
		return // the question
	}
	if w.named == nil {
		w.named = map[ring.WitnessAsk]ring.NodeID{}
	}
	if _, known := w.named[q]; !known {
		w.named[q] = n.id
	}
	if !lost {
		c.push(event{at: c.now + 2*c.latency(), kind: evWitness, node: n.i, life: n.life, ask: q, named: w.named[q]})
	}
}

// counts reports whether in is a quorum of a view, as the witness named.
func (c *Cluster) counts(generation uint32, v ring.View, in func(ring.Member) bool) bool {
	if !c.opt.Witness {
		return v.Quorum(in)
	}
	m, _ := v.ByID(c.witness.named[ring.WitnessAsk{Generation: generation, View: v.Number}])
	return v.QuorumWith(in, m.Member)
}

// mayCount is counts, where a half that nobody was named for may yet ask.
func (c *Cluster) mayCount(generation uint32, v ring.View, in func(ring.Member) bool) bool {
	if _, known := c.witness.named[ring.WitnessAsk{Generation: generation, View: v.Number}]; c.opt.Witness && !known {
		n := 0
		for _, m := range v.Members {
			if in(m.Member) {
				n++
			}
		}
		return 2*n >= len(v.Members)
	}
	return c.counts(generation, v, in)
}
