package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"rain/ring"
)

// Cluster is a cluster in virtual time.
type Cluster struct {
	Count   Counters
	Slowest time.Duration // from the end of the faults to a whole and idle cluster

	opt     Options
	seed    uint64
	witness witness
	rng     *rand.Rand
	now     int64 // true time, ns
	seq     uint64
	heap    heap
	room    room
	nodes   []*node
	cut     [][]int64 // cut[i][j]: datagrams from i to j are lost until then
	faults  bool
	busy    bool // clients propose
	storm   bool
	ghosts  []ghost
	check   checker
	err     *Violation

	sent, sentBytes, tokenBytes int // messages and their bytes; bytes of the last token

	trace   io.Writer
	verbose bool                         // messages, too
	hops    bool                         // accepts and passes of the token, too
	hook    func(*packet, ring.Message)  // a script's hand on the wire
	onTrace func(n *node, t *ring.Trace) // a test's eye

	guestRng *rand.Rand // of guests' work alone: runs without guests stay as they are
}

// Counters say how hot a run was.
type Counters struct {
	Steps, Tokens                                   int
	Regenerations, Denials, ViewChanges, ColdStarts int
	Unacked, LateDelivered, OldDropped              int
	LongPauses, Pauses, Crashes, Restarts           int
	Burns, Leaves, Cuts                             int
	Resolved, Durable, All, Unknown, NotPrimary     int
	Acts, Compactions, Adopts, Founded              int
	FetchFails, CutOps, Forced                      int
}

// Add adds o to k, field by field.
func (k *Counters) Add(o Counters) {
	dst, src := k.fields(), o.fields()
	for i := range dst {
		*dst[i].n += *src[i].n
	}
}

type counter struct {
	name string
	n    *int
}

func (k *Counters) fields() []counter {
	return []counter{
		{"steps", &k.Steps}, {"tokens", &k.Tokens}, {"regenerations", &k.Regenerations}, {"denials", &k.Denials},
		{"view changes", &k.ViewChanges}, {"cold starts", &k.ColdStarts}, {"founded", &k.Founded}, {"unacknowledged deliveries", &k.Unacked},
		{"deliveries after the verdict", &k.LateDelivered}, {"old incarnations dropped", &k.OldDropped},
		{"pauses beyond the lease", &k.LongPauses}, {"pauses", &k.Pauses}, {"crashes", &k.Crashes}, {"restarts", &k.Restarts}, {"burned disks", &k.Burns},
		{"leaves", &k.Leaves}, {"cuts", &k.Cuts}, {"resolved", &k.Resolved}, {"resolved durable", &k.Durable},
		{"resolved by all", &k.All}, {"outcome unknown", &k.Unknown}, {"not primary", &k.NotPrimary},
		{"acting intervals", &k.Acts}, {"compactions", &k.Compactions}, {"snapshots adopted", &k.Adopts},
		{"failed fetches", &k.FetchFails}, {"ops cut", &k.CutOps}, {"in want of force", &k.Forced},
	}
}

func (k *Counters) String() string {
	s := ""
	for _, f := range k.fields() {
		s += fmt.Sprintf("%9d %s\n", *f.n, f.name)
	}
	return s
}

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant int
	Seed      uint64
	At        int64
	Text      string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("sim: invariant %d (%s) broken, seed %d, t=%s: %s", v.Invariant, InvariantName(v.Invariant), v.Seed, stamp(v.At), v.Text)
}

// InvariantName is a short name of an invariant of the ring's design.
func InvariantName(n int) string {
	return [...]string{"", "one lineage", "one sequence", "one actor", "one primary", "link histories", "liveness", "no panic"}[n]
}

// New makes a cluster. Nothing runs before Run. trace, if not nil, gets a line
// for all that happens.
func New(seed uint64, opt Options, trace io.Writer) *Cluster {
	c := &Cluster{
		opt: opt, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)),
		trace: trace, verbose: trace != nil, hops: trace != nil, faults: opt.FaultEvery > 0, busy: opt.ProposeEvery > 0,
	}
	c.guestRng = rand.New(rand.NewPCG(seed, 2))
	c.check.init()
	founders := make([]ring.NodeID, opt.Founders)
	all := make([]ring.NodeID, opt.Nodes)
	for i := range all {
		all[i] = nodeID(i)
	}
	copy(founders, all)
	for i := range opt.Nodes {
		n := &node{
			i: i, id: nodeID(i), founders: founders, peers: all, maxInc: 0,
			clock: clock{origin: 0, rate: million},
		}
		if opt.Drift > 0 {
			n.clock.origin = c.rng.Int64N(int64(time.Hour))
			n.clock.rate += int64(c.rng.IntN(2*opt.Drift+1) - opt.Drift)
			if c.rng.IntN(2) == 0 { // the corners are where it hurts
				n.clock.rate = million + int64(opt.Drift*(2*c.rng.IntN(2)-1))
			}
		}
		c.nodes = append(c.nodes, n)
		c.cut = append(c.cut, make([]int64, opt.Nodes))
	}
	if c.faults {
		for _, n := range c.nodes {
			at := c.rng.Int64N(int64(200 * time.Millisecond))
			if n.i >= opt.Nodes-opt.LateJoin {
				at = c.rng.Int64N(int64(8 * time.Second))
			}
			c.push(event{at: at, kind: evStart, node: n.i})
		}
		c.push(event{at: int64(time.Second), kind: evFault})
	}
	return c
}

// nodeID is the id of node i: 0.1.0.(i+1).
func nodeID(i int) ring.NodeID { return ring.NodeID(1<<16 + i + 1) }

func (c *Cluster) index(id ring.NodeID) int {
	i := int(id) - 1<<16 - 1
	if i < 0 || i >= len(c.nodes) {
		return -1
	}
	return i
}

func (c *Cluster) push(ev event) {
	c.seq++
	ev.seq = c.seq
	c.heap.push(ev)
}

// Run runs the cluster for so long, or until an invariant breaks.
func (c *Cluster) Run(d time.Duration) error {
	return c.RunUntil(d, func() bool { return false })
}

// RunUntil runs until done, which is asked every 10 ms, at most for d.
func (c *Cluster) RunUntil(d time.Duration, done func() bool) (err error) {
	end := c.now + int64(d)
	defer func() {
		if r := recover(); r != nil {
			c.fail(7, "panic: %v\n%s", r, debug.Stack())
		}
		if c.err != nil {
			err = c.err
		}
	}()
	look := c.now
	for c.err == nil {
		if c.now >= look {
			if done() {
				return nil
			}
			look = c.now + int64(10*time.Millisecond)
		}
		if len(c.heap.e) == 0 || c.heap.e[0].at > min(end, look) {
			c.now = min(end, look)
			if c.now == end {
				return nil
			}
			continue
		}
		ev := c.heap.pop()
		c.now = max(c.now, ev.at)
		c.dispatch(ev)
	}
	return nil
}

// dispatch hands an event to the node it is for. What a process would have to
// do itself waits while it is paused.
func (c *Cluster) dispatch(ev event) {
	n := c.nodes[ev.node]
	switch ev.kind {
	case evFault:
		c.fault()
		return
	case evStart:
		c.start(n)
		return
	case evDisk:
		if n.up && ev.life == n.life && ev.num == n.disk.writing {
			c.synced(n, ev.ok)
		}
		return
	case evResume:
		if n.paused && ev.life == n.life && ev.num == n.pauses {
			c.resume(n)
		}
		return
	case evFetch:
		c.takeSnapshot(n, ev)
		return
	case evArrive:
		if n.up && n.paused {
			ev.life = n.life
			n.inbox = append(n.inbox, ev)
		} else if n.up {
			c.arrive(n, ev.pkt)
		}
		return
	}
	if n.up && ev.life == n.life {
		if n.paused {
			n.inbox = append(n.inbox, ev)
		} else {
			c.handle(n, ev)
		}
	}
}

// handle is an event in a process that runs.
func (c *Cluster) handle(n *node, ev event) {
	switch ev.kind {
	case evTimer:
		c.timer(n)
	case evAttempt:
		c.attempt(ev.pkt, false)
	case evArrive:
		c.arrive(n, ev.pkt)
	case evAck:
		c.verdict(ev.pkt, true)
	case evSaved:
		if ev.ok {
			c.step(n, ring.Saved{Ref: ev.num})
		} else {
			c.step(n, ring.SaveFailed{Ref: ev.num})
		}
	case evPropose:
		c.work(n)
	case evFetched:
		c.fetched(n, ev)
	case evGrab:
		c.propose(n, &proposal{rider: ring.RiderVIP, data: []byte{opOwn, byte(ev.num)}})
	case evWitness:
		c.step(n, ring.WitnessSaid{WitnessAsk: ev.ask, Named: ev.named})
	case evStep:
		c.step(n, ev.step)
	}
}

func (c *Cluster) fail(inv int, format string, args ...any) {
	if c.err != nil || c.opt.Only != 0 && inv != c.opt.Only && inv != 7 {
		return
	}
	c.err = &Violation{inv, c.seed, c.now, fmt.Sprintf(format, args...)}
	if c.trace != nil {
		fmt.Fprintln(c.trace, c.err)
	}
}
