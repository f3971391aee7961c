package sim

import (
	"slices"

	"rain/ring"
)

// node is a host: its disk and clock, and the process on it, if one is up.
type node struct {
	i        int
	id       ring.NodeID
	founders []ring.NodeID
	peers    []ring.NodeID
	clock    clock
	disk     disk
	hung     bool  // the disk syncs nothing
	noFetch  bool  // no snapshot ever gets here
	slow     int64 // the disk is slow until then
	maxInc   ring.Incarnation
	life     int  // counts starts
	force    bool // an operator's order for the next lives, until one is a member

	// The process.
	up    bool
	m     *ring.Machine
	me    ring.Member
	seen  ring.Inspection // after the last step
	st    state
	guest Guest // nil: none
	hold  [things]holding
	free  ring.Instant // latest FreeAt of all views delivered
	lease ring.Instant
	// The latest lease that a step confirmed, and the newest view then.
	confirmed ring.Instant
	under     ring.View
	known     []ring.Incarnation // newest heard of each node
	out       []*channel
	wake      ring.Instant // the machine wants a timer then
	armed     int64        // true time of the earliest timer event; 0: none
	spun      int64        // last true time of a timer step, and how many there were
	spins     int
	hand      *snapshot // fetched last
	pinned    *snapshot // adopted last: the shell's disk keeps it by its header
	fetch     uint64    // number of the newest fetch
	props     map[uint64]*proposal
	nextN     uint64
	leaves    bool
	tries     int // of the life before

	paused bool
	pauses uint64
	stall  int64 // pause for so long after the next step, before its effects
	held   []ring.Effects
	inbox  []event
}

// start starts a process with what is on the disk.
func (c *Cluster) start(n *node) {
	if n.up {
		return
	}
	n.life++
	n.maxInc++
	n.force = n.force && n.seen.State != "member"
	disk := n.disk
	*n = node{
		i: n.i, id: n.id, founders: n.founders, peers: n.peers, clock: n.clock, slow: n.slow, hung: n.hung, noFetch: n.noFetch, disk: disk,
		maxInc: n.maxInc, life: n.life, up: true, pauses: n.pauses + 1, tries: n.tries, force: n.force,
		me:    ring.Member{ID: n.id, Inc: n.maxInc},
		known: make([]ring.Incarnation, len(c.nodes)), props: map[uint64]*proposal{}, nextN: 1,
	}
	for range c.nodes {
		n.out = append(n.out, &channel{})
	}
	rec := disk.rec
	rec.Entries = slices.Clone(rec.Entries)
	n.st = disk.state
	if rec.Stamp != (ring.Stamp{}) && rec.Header.Index == 0 {
		n.st = state{}
	}
	c.seat(n)
	n.m = ring.New(ring.Config{
		Me: n.me, Founders: n.founders, Peers: n.peers, Timing: c.opt.Timing, Aggressive: c.aggressive(n), Disk: rec, Seed: c.rng.Uint64(), Tries: n.tries, Force: n.force, Policy: c.policy(), TraceHops: c.trace != nil || c.onTrace != nil,
	})
	c.tracef(n.i, "start as %s, disk %s to %d", c.name(n.me), rec.Stamp, last(&rec))
	c.step(n, ring.Start{})
	if c.opt.ProposeEvery > 0 {
		c.nextWork(n)
	}
}

// crash ends the process at once.
func (c *Cluster) crash(n *node) {
	if !n.up {
		return
	}
	c.tracef(n.i, "crash")
	c.Count.Crashes++
	c.down(n)
	n.tries = 0
}

func (c *Cluster) down(n *node) {
	n.disk.power(c, n)
	c.bury(n)
	n.up, n.paused, n.inbox, n.held, n.m = false, false, nil, nil, nil
	n.seen = ring.Inspection{}
	n.lease = 0
}

// pause freezes the process for so long.
func (c *Cluster) pause(n *node, d int64) {
	if !n.up || n.paused {
		return
	}
	c.tracef(n.i, "freeze for %s", stamp(d))
	c.Count.Pauses++
	if d > int64(c.opt.Timing.Lease) {
		c.Count.LongPauses++
	}
	n.paused = true
	n.pauses++
	c.push(event{at: c.now + d, kind: evResume, node: n.i, life: n.life, num: n.pauses})
}

// resume lets the process go on where it was: the effects of its last step
// first, then what came meanwhile, with a late clock.
func (c *Cluster) resume(n *node) {
	c.tracef(n.i, "thaw")
	n.paused = false
	held := n.held
	n.held = nil
	for _, eff := range held {
		c.perform(n, &eff)
	}
	if c.faults && c.rng.IntN(2) == 0 && n.up && !n.paused {
		c.step(n, ring.Timer{})
	}
	for len(n.inbox) > 0 {
		ev := n.inbox[0]
		if !n.up || n.paused || ev.life != n.life || c.err != nil {
			return
		}
		n.inbox = n.inbox[1:]
		c.handle(n, ev)
	}
	if n.paused {
		return
	}
	for i := range c.nodes { // what an earlier pause left at the head of a channel
		if n.up && !n.paused && c.nodes[i].up {
			c.flush(c.nodes[i].out[n.i])
		}
	}
}

// step steps the machine and does what it wants.
func (c *Cluster) step(n *node, ev ring.Event) {
	if c.err != nil || !n.up {
		return
	}
	if n.paused { // paused within this event: it waits as if in the loop's queue
		n.inbox = append(n.inbox, event{at: c.now, kind: evStep, node: n.i, life: n.life, step: ev})
		return
	}
	c.Count.Steps++
	eff := n.m.Step(n.clock.at(c.now), ev)
	n.seen = n.m.Glance()
	c.traces(n, eff.Trace)
	c.checkStep(n, &eff)
	if n.stall > 0 {
		d := n.stall
		n.stall = 0
		c.pause(n, d)
		n.held = append(n.held, eff)
		return
	}
	c.perform(n, &eff)
}

// perform does the effects in their order.
func (c *Cluster) perform(n *node, eff *ring.Effects) {
	if eff.Adopt {
		c.adopt(n)
	}
	for k := range eff.Deliver {
		if d := &eff.Deliver[k]; k == 0 && d.Rider == ring.RiderViews && d.Index == n.st.index {
			// The view of a snapshot that was fetched, or found on the disk.
			if !sameView(d.View, n.st.view) {
				c.fail(2, "n%d is told at %d that its snapshot's view is %s, it is %s", n.i+1, d.Index, d.View, n.st.view)
			}
			n.free = d.FreeAt
			if n.guest != nil {
				n.guest.View(d.Index, d.View, d.FreeAt)
			}
			continue
		}
		c.delivered(n, &eff.Deliver[k])
	}
	n.lease = eff.Lease // before sends: what leaves may hand a thing over
	c.acts(n)
	if eff.Save != nil {
		c.save(n, diskOp{save: *eff.Save, snap: n.pinned})
		c.compact(n)
	}
	life := n.life
	for _, env := range eff.Send {
		if n.up && n.life == life {
			c.send(n, env)
		}
	}
	if !n.up || n.life != life {
		return
	}
	for _, r := range eff.Resolved {
		c.resolved(n, r)
	}
	if eff.Fetch != nil {
		n.fetch++
		c.tracef(n.i, "fetch from %s", c.name(*eff.Fetch))
		c.push(event{at: c.now + c.latency()*2, kind: evFetch, node: n.i, life: n.life, num: n.fetch, pkt: &packet{to: *eff.Fetch}})
	}
	if eff.Ask != nil {
		c.askWitness(n, *eff.Ask)
	}
	if eff.Left {
		c.tracef(n.i, "left")
		c.down(n)
		return
	}
	if eff.Restart {
		c.tracef(n.i, "restart")
		c.Count.Restarts++
		n.maxInc = max(n.maxInc, eff.AboveInc)
		c.answerWaiting(n)
		if len(n.props) > 0 {
			c.fail(6, "n%d restarts and leaves %d proposals without an answer", n.i+1, len(n.props))
		}
		c.down(n)
		n.tries = eff.Tries
		c.start(n)
		return
	}
	n.wake = eff.Wake
	c.arm(n)
}

// answerWaiting answers the proposals that came while the process stood and that
// its machine, now at its end, has never seen: as a shell without one does.
func (c *Cluster) answerWaiting(n *node) {
	for _, ev := range n.inbox {
		if p, ok := ev.step.(ring.Propose); ok && ev.kind == evStep && ev.life == n.life {
			c.resolved(n, ring.Resolution{N: p.N, Err: ring.ErrNotPrimary})
		}
	}
}

func sameView(v, w ring.View) bool {
	return v.Number == w.Number && slices.Equal(v.Members, w.Members)
}

// arm schedules the timer event unless an earlier one is under way.
func (c *Cluster) arm(n *node) {
	if n.wake == 0 {
		return
	}
	at := max(n.clock.when(n.wake), c.now)
	if n.armed != 0 && n.armed <= at {
		return
	}
	if c.opt.TimerLate > 0 {
		at += c.rng.Int64N(int64(c.opt.TimerLate))
	}
	n.armed = at
	c.push(event{at: at, kind: evTimer, node: n.i, life: n.life, num: uint64(at)})
}

func (c *Cluster) timer(n *node) {
	if n.armed > c.now {
		return // an earlier one was set since, and is gone
	}
	n.armed = 0
	if n.wake == 0 {
		return
	}
	if n.clock.at(c.now) < n.wake {
		c.arm(n)
		return
	}
	c.spin(n)
	c.step(n, ring.Timer{})
}

// spin catches a machine that asks for timers without end.
func (c *Cluster) spin(n *node) {
	if n.spun != c.now {
		n.spun, n.spins = c.now, 0
	}
	if n.spins++; n.spins > 1000 {
		c.fail(6, "n%d asks for a timer at once, again and again", n.i+1)
	}
}

// adopt restores the riders from the snapshot at hand.
func (c *Cluster) adopt(n *node) {
	if n.hand == nil {
		c.fail(2, "n%d adopts a snapshot that it does not have", n.i+1)
		return
	}
	n.pinned = n.hand
	n.st = n.hand.state
	c.seat(n)
	n.hold = c.letGo(n)
	c.Count.Adopts++
	c.checkChain(n, n.hand.header.Stamp.Epoch.Generation())
}

// letGo ends what n does with its things and returns empty holdings.
func (c *Cluster) letGo(n *node) [things]holding {
	for x := range things {
		c.realised(n.i, x, n.hold[x].from, min(n.hold[x].to, c.now))
	}
	return [things]holding{}
}

// takeSnapshot is the giver's side of a fetch: the state as it is then.
func (c *Cluster) takeSnapshot(n *node, ev event) {
	if !n.up || n.life != ev.life || n.fetch != ev.num {
		return
	}
	var snap *snapshot
	lost := n.noFetch || c.faults && c.opt.FetchFail > 0 && c.rng.Float64() < c.opt.FetchFail
	j := c.index(ev.pkt.to.ID)
	if j >= 0 && !lost && c.cut[n.i][j] <= c.now && c.cut[j][n.i] <= c.now {
		g := c.nodes[j]
		if h := (ring.SnapshotHeader{}); g.up && !g.paused && (ev.pkt.to.Inc == 0 || g.me.Inc == ev.pkt.to.Inc) {
			var ok bool
			if h, ok = g.m.Header(); ok && len(g.held) == 0 {
				snap = &snapshot{h, c.capture(g)}
				if h.Index != g.st.index {
					c.fail(2, "n%d heads its snapshot of index %d with %d", j+1, g.st.index, h.Index)
				}
				snap.header, _ = ring.ParseHeader(ring.AppendHeader(nil, h))
			}
		}
	}
	d := c.latency() * 4
	if c.faults && c.opt.FetchTime > 0 {
		d += c.rng.Int64N(int64(c.opt.FetchTime))
	}
	c.push(event{at: c.now + d, kind: evFetched, node: n.i, life: n.life, num: ev.num, pkt: ev.pkt, snap: snap})
}

func (c *Cluster) fetched(n *node, ev event) {
	if n.fetch != ev.num {
		return
	}
	if ev.snap == nil {
		c.Count.FetchFails++
		c.step(n, ring.Fetched{From: ev.pkt.to, Err: true})
		return
	}
	n.hand = ev.snap
	c.step(n, ring.Fetched{From: ev.pkt.to, Header: ev.snap.header})
}
