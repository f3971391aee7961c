package sim

import (
	"math"
	"time"

	"rain/ring"
)

// The kinds of faults and how often each comes by default.
const (
	faultCutOneWay = iota
	faultCutBoth
	faultPartition
	faultIsolate
	faultCrash
	faultCrashSome
	faultPower
	faultPause
	faultPauseStep
	faultPauseAll
	faultSlowDisk
	faultLeave
	faultKinds
)

var faultWeight = [faultKinds]int{
	faultCutOneWay: 4, faultCutBoth: 3, faultPartition: 3, faultIsolate: 2,
	faultCrash: 4, faultCrashSome: 2, faultPower: 1, faultPause: 4, faultPauseStep: 4, faultPauseAll: 1,
	faultSlowDisk: 1, faultLeave: 1,
}

// exp draws from an exponential distribution, so that faults come in bunches.
func (c *Cluster) exp(mean time.Duration) int64 {
	return int64(float64(mean) * -math.Log(1-c.rng.Float64()))
}

func (c *Cluster) between(lo, hi time.Duration) int64 {
	return int64(lo) + c.rng.Int64N(int64(hi-lo))
}

// fault makes one fault and schedules the next. Storms and calms alternate.
func (c *Cluster) fault() {
	if !c.faults {
		return
	}
	if c.rng.IntN(8) == 0 {
		c.storm = !c.storm
	}
	gap := c.exp(c.opt.FaultEvery)
	if !c.storm {
		gap *= 3
	}
	c.push(event{at: c.now + 1 + gap, kind: evFault})
	sum := 0
	for _, w := range c.opt.Weights {
		sum += w
	}
	if sum == 0 {
		return
	}
	k := c.rng.IntN(sum)
	for f, w := range c.opt.Weights {
		if k -= w; k < 0 {
			c.make(f)
			return
		}
	}
}

func (c *Cluster) make(f int) {
	i, j := c.rng.IntN(len(c.nodes)), c.rng.IntN(len(c.nodes))
	n := c.nodes[i]
	lease := c.opt.Timing.Lease
	switch f {
	case faultCutOneWay:
		c.cutFor(i, j, c.long())
	case faultCutBoth:
		d := c.long()
		c.cutFor(i, j, d)
		c.cutFor(j, i, d)
	case faultPartition:
		c.partition(c.rng.Uint64(), c.long())
	case faultIsolate:
		c.partition(1<<i, c.long())
	case faultCrash:
		c.crashFor(n, c.between(time.Millisecond, time.Second))
	case faultCrashSome:
		c.crashFor(n, c.between(time.Millisecond, time.Second))
		c.crashFor(c.nodes[j], c.between(time.Millisecond, time.Second))
	case faultPower:
		for _, o := range c.nodes {
			if c.rng.IntN(8) > 0 {
				c.crashFor(o, c.between(time.Millisecond, 500*time.Millisecond))
			}
		}
	case faultPause:
		c.pause(n, c.between(time.Millisecond, 3*lease))
	case faultPauseStep:
		n.stall = c.between(time.Millisecond, 3*lease)
	case faultPauseAll:
		for _, o := range c.nodes {
			if c.rng.IntN(2) == 0 {
				c.pause(o, c.between(time.Millisecond, 2*lease))
			}
		}
	case faultSlowDisk:
		n.slow = c.now + c.between(100*time.Millisecond, 2*time.Second)
	case faultLeave:
		c.leave(n)
	}
}

// long is how long a cut lasts: mostly some timeouts, sometimes so long that
// disks are asked.
func (c *Cluster) long() int64 {
	if c.rng.IntN(6) == 0 {
		return c.between(c.opt.Timing.ColdAfter/2, 3*c.opt.Timing.ColdAfter)
	}
	return c.between(5*time.Millisecond, 10*c.opt.Timing.StarveTimeout)
}

func (c *Cluster) cutFor(i, j int, d int64) {
	if i == j {
		return
	}
	c.Count.Cuts++
	c.tracef(i, "cut to n%d for %s", j+1, stamp(d))
	c.cut[i][j] = max(c.cut[i][j], c.now+d)
}

// partition cuts the nodes in the mask from the others.
func (c *Cluster) partition(mask uint64, d int64) {
	for i := range c.nodes {
		for j := range c.nodes {
			if mask>>i&1 != mask>>j&1 {
				c.cutFor(i, j, d)
			}
		}
	}
}

// crashFor crashes a node and starts it again after d, rarely without its disk.
func (c *Cluster) crashFor(n *node, d int64) {
	if !n.up {
		return
	}
	burn := c.rng.IntN(6) == 0 && c.mayBurn(n)
	c.crash(n)
	if burn {
		c.burn(n)
	}
	c.push(event{at: c.now + d, kind: evStart, node: n.i})
}

func (c *Cluster) burn(n *node) {
	c.tracef(n.i, "disk burns")
	c.Count.Burns++
	n.disk = disk{burned: true}
}

// mayBurn says whether the ring promises to survive the loss of n's disk: the
// others of the one settled view, all with it on disk, are a quorum without n,
// and no disk is missing yet. Founders with empty disks stay a minority of the founders.
func (c *Cluster) mayBurn(n *node) bool {
	var best *node
	for _, o := range c.nodes {
		if o.disk.burned && !c.recovered(o) || o.leaves && o.up {
			return false
		}
		if o.up && len(o.seen.Views) > 0 && (best == nil || best.seen.Copy.Less(o.seen.Copy)) {
			best = o
		}
	}
	if best == nil || best.seen.State != "member" || len(best.seen.Views) != 1 || best.seen.Views[0].Index > best.seen.Stable || len(best.seen.Suspects) > 0 {
		return false
	}
	empty := 0 // a founder's empty disk: more than half of them found anew
	for i := range n.founders {
		if o := c.nodes[i]; o == n || o.disk.rec.Stamp == (ring.Stamp{}) {
			empty++
		}
	}
	if 2*empty > len(n.founders) {
		return false
	}
	for _, o := range c.nodes {
		// A disk newer than any living copy, or a 911 under way, which may make a
		// view that cannot do without n: wait.
		if best.seen.Copy.Less(o.disk.rec.Stamp) || o.up && o.seen.Promised > best.seen.Copy.Epoch {
			return false
		}
	}
	v := best.seen.Views[0]
	return c.counts(best.seen.Copy.Epoch.Generation(), v.View, func(m ring.Member) bool {
		o := c.nodes[c.index(m.ID)]
		return o != n && o.up && o.me == m && o.disk.rec.Stamp.Epoch.Generation() == best.seen.Copy.Epoch.Generation() && last(&o.disk.rec) >= v.Index && o.disk.rec.Stable >= v.Index
	})
}

// recovered says whether a burned node is a settled member with a record again.
func (c *Cluster) recovered(n *node) bool {
	if !n.up || len(n.seen.Views) != 1 || n.disk.rec.Stamp == (ring.Stamp{}) || n.seen.State != "member" {
		return false
	}
	v := n.seen.Views[0]
	if !v.View.Has(n.me) || v.Index > n.disk.rec.Stable || last(&n.disk.rec) < v.Index || n.disk.rec.Stamp.Epoch.Generation() != n.seen.Copy.Epoch.Generation() {
		return false
	}
	n.disk.burned = false
	return true
}

// leave is a planned stop: what the node holds it lets go first.
func (c *Cluster) leave(n *node) {
	if !n.up || n.paused || n.leaves {
		return
	}
	for _, o := range c.nodes { // the others may need it until they have all disks again
		if c.faults && o.disk.burned && !c.recovered(o) {
			return
		}
	}
	c.Count.Leaves++
	c.tracef(n.i, "leave")
	n.leaves = true
	for x := range things {
		n.hold[x].releasing = true
	}
	c.acts(n)
	c.step(n, ring.Leave{})
	c.push(event{at: c.now + c.between(300*time.Millisecond, 2*time.Second), kind: evStart, node: n.i})
}

// strike aims a fault at a token that was just sent.
func (c *Cluster) strike(p *packet) {
	src, dst := c.nodes[p.src], c.nodes[p.dst]
	lease, send := c.opt.Timing.Lease, c.opt.Timing.SendTimeout
	switch c.rng.IntN(10) {
	case 0:
		dst.stall = c.between(time.Millisecond, 2*lease)
	case 1:
		c.pause(dst, c.between(time.Millisecond, 2*lease))
	case 2: // the acknowledgement is lost, and no more
		p.ackLost = true
	case 3:
		c.cutFor(p.src, p.dst, c.between(send/2, 2*send))
	case 4:
		c.cutFor(p.dst, p.src, c.between(send, 4*send))
	case 5:
		c.crashFor(src, c.between(time.Millisecond, 2*lease))
	case 6:
		c.crashFor(dst, c.between(time.Millisecond, 2*lease))
	case 7:
		c.pause(src, c.between(time.Millisecond, 2*lease))
	case 8:
		c.partition(1<<p.src, c.between(send, 4*lease))
	case 9:
		c.partition(1<<p.dst, c.between(send, 4*lease))
	}
}

// StopFaults ends all faults: everything heals, thaws and starts.
func (c *Cluster) StopFaults() {
	c.faults = false
	c.tracef(-1, "faults stop")
	c.opt.MaxSync = min(c.opt.MaxSync, 5*time.Millisecond)
	for i, n := range c.nodes {
		for j := range c.nodes {
			c.cut[i][j] = 0
		}
		n.slow, n.stall = 0, 0
		if n.paused {
			c.resume(n)
		}
		c.start(n)
	}
}
