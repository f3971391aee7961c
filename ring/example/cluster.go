package example

import (
	"bytes"
	"container/heap"
	"fmt"
	"time"

	"rain/ring"
)

const latency = 500 * time.Microsecond

// Cluster is some nodes in virtual time.
type Cluster struct {
	now   ring.Instant
	queue events
	count uint64
	nodes []*Node
	time  ring.Timing
}

// Node is one member: the machine, and the one rider that it carries.
type Node struct {
	c       *Cluster
	me      ring.Member
	m       *ring.Machine
	rider   ring.Rider
	view    ring.View
	lease   ring.Instant
	wake    ring.Instant
	fetched []byte // snapshot of the rider, until Adopt
	next    uint64
	open    map[uint64]*answer
}

type answer struct {
	result []byte
	err    error
	done   bool
}

type event struct {
	at  ring.Instant
	seq uint64
	do  func()
}

// events is a heap by time, then by the order in which they were made.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// New makes a cluster of n nodes, with a rider for each, and runs it until all are
// in one view.
func New(n int, rider func() ring.Rider) *Cluster {
	timing, _ := ring.Preset("lan")
	c := &Cluster{time: timing, now: ring.Instant(time.Hour)}
	var founders []ring.NodeID
	for i := range n {
		founders = append(founders, ring.NodeID(i+1))
	}
	for _, id := range founders {
		me := ring.Member{ID: id, Inc: 1}
		c.nodes = append(c.nodes, &Node{
			c: c, me: me, rider: rider(), open: map[uint64]*answer{},
			m: ring.New(ring.Config{Me: me, Founders: founders, Timing: timing, Seed: uint64(id)}),
		})
	}
	for _, node := range c.nodes {
		node.step(ring.Start{})
	}
	c.until(func() bool {
		for _, node := range c.nodes {
			if len(node.view.Members) != n || !node.Leased() {
				return false
			}
		}
		return true
	})
	return c
}

// Node returns node i, from 1.
func (c *Cluster) Node(i int) *Node { return c.nodes[i-1] }

// Run lets virtual time pass.
func (c *Cluster) Run(d time.Duration) {
	end := c.now.Add(d)
	c.until(func() bool { return len(c.queue) == 0 || c.queue[0].at > end })
	c.now = max(c.now, end)
}

func (c *Cluster) until(done func() bool) {
	for limit := c.now.Add(time.Minute); !done(); {
		if len(c.queue) == 0 || c.now > limit {
			panic("example: nothing more will happen")
		}
		ev := heap.Pop(&c.queue).(event)
		c.now = ev.at
		ev.do()
	}
}

func (c *Cluster) after(d time.Duration, do func()) {
	c.count++
	heap.Push(&c.queue, event{c.now.Add(d), c.count, do})
}

func (c *Cluster) find(to ring.Member) *Node {
	for _, n := range c.nodes {
		if n.m != nil && n.me.ID == to.ID && (to.Inc == 0 || to.Inc == n.me.Inc) {
			return n
		}
	}
	return nil
}

// Crash ends a node's process.
func (n *Node) Crash() { n.m = nil }

// Leased reports whether the node may act alone now: what its ops gave it is its own.
func (n *Node) Leased() bool { return n.m != nil && n.c.now < n.lease }

// Propose puts an op on the token and runs the cluster until it is committed. It
// returns what the rider's Apply returned on this node.
func (n *Node) Propose(op []byte) ([]byte, error) {
	n.next++
	a := &answer{}
	n.open[n.next] = a
	n.step(ring.Propose{N: n.next, Rider: ring.RiderSettings, Data: op})
	n.c.until(func() bool { return a.done })
	return a.result, a.err
}

// step gives the machine an event and does what it says, in the order of Effects.
func (n *Node) step(ev ring.Event) {
	if n.m == nil {
		return
	}
	eff := n.m.Step(n.c.now, ev)
	if eff.Restart || eff.Left {
		panic(fmt.Sprintf("example: node %s ended its life; see ring/host for what to do then", n.me))
	}
	if eff.Adopt {
		if err := n.rider.Restore(bytes.NewReader(n.fetched)); err != nil {
			panic(err)
		}
	}
	for _, d := range eff.Deliver {
		n.deliver(d)
	}
	n.lease = eff.Lease
	if eff.Save != nil { // a disk that is done at once, but never within the step
		ref := eff.Save.Ref
		n.c.after(0, func() { n.step(ring.Saved{Ref: ref}) })
	}
	for _, env := range eff.Send {
		n.send(env)
	}
	for _, r := range eff.Resolved {
		if a := n.open[r.N]; a != nil {
			a.err, a.done = r.Err, true
			delete(n.open, r.N)
		}
	}
	if eff.Fetch != nil {
		n.fetch(*eff.Fetch)
	}
	if n.wake = eff.Wake; n.wake != 0 {
		at := n.wake
		n.c.after(max(0, at.Sub(n.c.now)), func() {
			if n.wake == at {
				n.step(ring.Timer{})
			}
		})
	}
}

func (n *Node) deliver(d ring.Delivery) {
	if d.Rider == ring.RiderViews {
		n.view = d.View
		n.rider.View(d.Index, d.View, d.FreeAt)
		return
	}
	result := n.rider.Apply(d.Index, d.From, d.Data)
	if a := n.open[d.N]; a != nil && d.From == n.me {
		a.result = result
	}
}

// send brings a message to its node, and tells the sender what became of it.
func (n *Node) send(env ring.Envelope) {
	to := n.c.find(env.To)
	if to == nil {
		n.c.after(n.c.time.SendTimeout, func() { n.step(ring.SendDone{Ref: env.Ref}) })
		return
	}
	msg, err := ring.ParseMessage(ring.AppendMessage(nil, env.Msg))
	if err != nil {
		panic(err)
	}
	n.c.after(latency, func() {
		alive := to.m != nil
		to.step(ring.Received{From: n.me, Msg: msg})
		if alive {
			n.c.after(latency, func() { n.step(ring.SendDone{Ref: env.Ref, OK: true}) })
		} else {
			n.c.after(n.c.time.SendTimeout, func() { n.step(ring.SendDone{Ref: env.Ref}) })
		}
	})
}

// fetch gets the rider's state, and where in the log it stands, from a member.
func (n *Node) fetch(from ring.Member) {
	n.c.after(latency, func() {
		done := ring.Fetched{From: from, Err: true}
		if giver := n.c.find(from); giver != nil {
			var b bytes.Buffer
			h, ok := giver.m.Header()
			if err := giver.rider.Snapshot(&b); ok && err == nil {
				done.Err, done.Header = false, h
				n.fetched = b.Bytes()
			}
		}
		n.step(done)
	})
}
