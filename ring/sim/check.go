package sim

import (
	"rain/ring"
)

// checker is what the whole run has shown so far: the god's view.
type checker struct {
	makers  map[ring.Epoch]ring.Member
	tokens  map[ring.Stamp]uint64 // hash of the bytes sent
	history map[uint32]*history   // by generation
	stable  []mark                // by index; what a quorum has had on disk
	ops     map[opID]uint64
}

// history is the one sequence of a generation.
type history struct {
	chain []uint64 // by index; the riders' hash after it; 0: not seen
	ops   []uint64 // by index; hash of the entry; 0: not seen
	guest []uint64 // by index; hash of the guest after it; 0: not seen
	bys   []reach  // how far which epoch is known to have committed, ascending
}

type reach struct {
	epoch ring.Epoch
	index uint64
}

type mark struct {
	chain uint64
	gen   uint32
}

type opID struct {
	gen  uint32
	from ring.Member
	n    uint64
}

func (k *checker) init() {
	k.makers = map[ring.Epoch]ring.Member{}
	k.tokens = map[ring.Stamp]uint64{}
	k.history = map[uint32]*history{}
	k.ops = map[opID]uint64{}
}

func (k *checker) gen(g uint32) *history {
	h := k.history[g]
	if h == nil {
		h = &history{}
		k.history[g] = h
	}
	return h
}

func grow[T any](s []T, i uint64) []T {
	for uint64(len(s)) <= i {
		var zero T
		s = append(s, zero)
	}
	return s
}

// forgetTokens bounds the memory of a long run.
func (c *Cluster) forgetTokens() { clear(c.check.tokens) }

// gen is the generation that n is in, as its riders see it.
func (n *node) gen() uint32 {
	if e := n.seen.Copy.Epoch; e != 0 {
		return e.Generation()
	}
	return n.disk.rec.Stamp.Epoch.Generation()
}

// checkChain compares n's riders with the sequence of the generation and with
// what was stable before it.
func (c *Cluster) checkChain(n *node, gen uint32) {
	i, chain := n.st.index, n.st.chain
	h := c.check.gen(gen)
	h.chain = grow(h.chain, i)
	switch h.chain[i] {
	case 0:
		h.chain[i] = chain
	case chain:
	default:
		c.fail(2, "n%d has another sequence up to index %d of generation %d than others", n.i+1, i, gen)
		return
	}
	if i < uint64(len(c.check.stable)) {
		if s := c.check.stable[i]; s.chain != 0 && s.chain != chain && gen >= s.gen {
			c.fail(2, "n%d lost what was stable in generation %d: index %d", n.i+1, s.gen, i)
		}
	}
}

// checkDelivered follows each delivery.
func (c *Cluster) checkDelivered(n *node, d *ring.Delivery) {
	gen := n.gen()
	c.checkChain(n, gen)
	h := c.check.gen(gen)
	h.ops = grow(h.ops, d.Index)
	h.ops[d.Index] = hashDelivery(d)
	if e := n.seen.Copy.Epoch; e != 0 {
		h.reached(e, d.Index)
	}
	if d.Rider == ring.RiderViews {
		return
	}
	id := opID{gen, d.From, d.N}
	if at, ok := c.check.ops[id]; ok && at != d.Index {
		c.fail(2, "op %d of %s is at index %d and at %d", d.N, d.From, at, d.Index)
	}
	c.check.ops[id] = d.Index
}

// reached notes that epoch e has committed up to index, unless known.
func (h *history) reached(e ring.Epoch, index uint64) {
	for k := range h.bys {
		if h.bys[k].index >= index && h.bys[k].epoch <= e {
			return
		}
		if h.bys[k].epoch == e {
			h.bys[k].index = index
			return
		}
	}
	h.bys = append(h.bys, reach{e, index})
}

// before is how far epochs below e have committed.
func (h *history) before(e ring.Epoch) uint64 {
	var top uint64
	for _, r := range h.bys {
		if r.epoch < e {
			top = max(top, r.index)
		}
	}
	return top
}

// checkStep looks at a machine after its step, before its effects.
func (c *Cluster) checkStep(n *node, eff *ring.Effects) {
	s := &n.seen
	if s.Stable > s.Commit || s.Commit > s.Last || s.Delivered > s.Commit {
		c.fail(2, "n%d has stable %d, commit %d, delivered %d, last %d", n.i+1, s.Stable, s.Commit, s.Delivered, s.Last)
	}
	if s.Holding {
		c.checkHolders(n)
	}
	for k := range eff.Trace {
		t := &eff.Trace[k]
		switch t.Kind {
		case ring.TraceMake:
			c.checkMade(n, t.Epoch, true)
		case ring.TraceColdMade:
			c.checkMade(n, t.Epoch, false)
		case ring.TraceCheckFailed:
			c.fail(1, "n%d says: %s", n.i+1, t)
		}
	}
	c.checkPrimary(n, eff)
	c.checkStable(n)
}

func (c *Cluster) checkMade(n *node, e ring.Epoch, complete bool) {
	if e == 0 {
		e = n.seen.Copy.Epoch
	}
	if m, ok := c.check.makers[e]; ok {
		c.fail(1, "epoch %s is made by %s and by %s", e, m, n.me)
	}
	c.check.makers[e] = n.me
	if !complete {
		return
	}
	if need := c.check.gen(e.Generation()).before(e); n.seen.Last < need {
		c.fail(2, "n%d makes epoch %s with %d ops, but %d are committed before it", n.i+1, e, n.seen.Last, need)
	}
}

// checkTokenSent: equal stamps, equal bytes; committed ops are as they were.
func (c *Cluster) checkTokenSent(n *node, t *ring.Token, b []byte) {
	c.Count.Tokens++
	sum := hashBytes(0, b)
	if old, ok := c.check.tokens[t.Stamp()]; ok && old != sum {
		c.fail(1, "n%d sends a token %s that differs from one before", n.i+1, t.Stamp())
	}
	c.check.tokens[t.Stamp()] = sum
	h := c.check.gen(t.Epoch.Generation())
	top := min(h.before(t.Epoch+1), t.Last())
	for i := t.Base + 1; i <= top && i < uint64(len(h.ops)); i++ {
		if h.ops[i] != 0 && h.ops[i] != hashEntry(&t.Ops[i-t.Base-1]) {
			c.fail(2, "n%d sends token %s with another op at index %d than was committed", n.i+1, t.Stamp(), i)
		}
	}
}

func hashEntry(e *ring.Entry) uint64 {
	d := ring.Delivery{From: e.From, N: e.N, Rider: e.Rider, Data: e.Data}
	if e.Rider == ring.RiderViews {
		v, err := ring.ParseViewChange(e.Data)
		if err != nil {
			return 0
		}
		d.View = v.View
	}
	return hashDelivery(&d)
}

// checkHolders: one holder in an epoch, and at most one that a quorum obeys.
func (c *Cluster) checkHolders(n *node) {
	for _, o := range c.nodes {
		if o == n || !o.up || !o.seen.Holding {
			continue
		}
		if o.seen.Copy.Epoch == n.seen.Copy.Epoch {
			c.fail(1, "n%d and n%d both hold a token of epoch %s", n.i+1, o.i+1, n.seen.Copy.Epoch)
		}
		if c.obeyed(n) && c.obeyed(o) {
			c.fail(1, "n%d with %s and n%d with %s both hold a token that a quorum accepts", n.i+1, n.seen.Copy, o.i+1, o.seen.Copy)
		}
	}
}

// obeyed says whether a quorum of each view in force would take h's token.
func (c *Cluster) obeyed(h *node) bool {
	for _, v := range h.seen.Views {
		if !c.counts(h.seen.Copy.Epoch.Generation(), v.View, func(m ring.Member) bool {
			o := c.nodes[c.index(m.ID)]
			return o.up && o.me == m && o.seen.Promised <= h.seen.Copy.Epoch && (o == h || o.seen.Copy.Less(h.seen.Copy) || o.seen.Copy == h.seen.Copy)
		}) {
			return false
		}
	}
	return len(h.seen.Views) > 0
}

// checkPrimary: the views under which two leases were confirmed meet, if they are
// neighbours; across several changes a lease may outlast its view, and waits keep
// that harmless (invariant 3).
func (c *Cluster) checkPrimary(n *node, eff *ring.Effects) {
	if eff.Lease <= n.confirmed || len(n.seen.Views) == 0 {
		return // not confirmed by this step
	}
	n.confirmed, n.under = eff.Lease, n.seen.Views[len(n.seen.Views)-1].View
	v, gen := n.under, n.seen.Copy.Epoch.Generation()
	for _, o := range c.nodes {
		if o == n || !o.up || o.lease <= o.clock.at(c.now) || o.seen.Copy.Epoch.Generation() != gen {
			continue
		}
		w := o.under
		if v.Number+1 >= w.Number && w.Number+1 >= v.Number && disjoint(v, w) {
			c.fail(4, "n%d in %s and n%d in %s both have a lease", n.i+1, c.viewName(v), o.i+1, c.viewName(w))
		}
	}
}

func disjoint(v, w ring.View) bool {
	for _, m := range v.Members {
		if w.Has(m.Member) {
			return false
		}
	}
	return true
}

// checkStable notes what n says is stable, once it is known what that is.
func (c *Cluster) checkStable(n *node) {
	s := n.seen.Stable
	if s < uint64(len(c.check.stable)) {
		return
	}
	if v := n.seen.Views; n.seen.State != "member" || len(v) > 0 && v[len(v)-1].Cold && v[len(v)-1].Index > s {
		return // a cold start that is not settled claims its whole log; it may yet fail
	}
	gen := n.gen()
	h := c.check.gen(gen)
	for i := uint64(len(c.check.stable)); i <= s; i++ {
		m := mark{gen: gen}
		if i < uint64(len(h.chain)) {
			m.chain = h.chain[i]
		}
		if i > 0 && m.chain == 0 {
			return // delivered in this step's effects
		}
		c.check.stable = append(c.check.stable, m)
	}
}

// checkResolved: what is answered is delivered here, is the op, and is as
// widely known as was asked for.
func (c *Cluster) checkResolved(n *node, p *proposal, r ring.Resolution) {
	c.Count.Resolved++
	gen := n.gen()
	if at, ok := c.check.ops[opID{gen, p.from, r.N}]; !ok || at != r.Index || n.st.index < r.Index {
		c.fail(2, "n%d answers proposal %d with index %d, but it is not delivered there (applied %d)", n.i+1, r.N, r.Index, n.st.index)
		return
	}
	if p.durable {
		c.Count.Durable++
		if n.seen.Stable < r.Index {
			c.fail(2, "n%d answers durable proposal %d at index %d with %d stable", n.i+1, r.N, r.Index, n.seen.Stable)
		}
		c.checkStable(n)
	}
	if !p.all {
		return
	}
	c.Count.All++
	for _, v := range n.seen.Views {
		for _, m := range v.View.Members {
			o := c.nodes[c.index(m.ID)]
			if o.up && o.me == m.Member && o.seen.Delivered < r.Index {
				c.fail(2, "n%d answers proposal %d as applied by all, but n%d has %d of %d", n.i+1, r.N, o.i+1, o.seen.Delivered, r.Index)
			}
		}
	}
}
