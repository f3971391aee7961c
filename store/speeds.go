package store

import (
	"math"
	"slices"
	"sync"
	"time"

	"rain/ring"
)

const (
	minHedge   = 3 * time.Millisecond
	maxHedge   = 100 * time.Millisecond
	firstHedge = 20 * time.Millisecond // before anything was measured
	// quantum is what a fetch costs besides its bytes, in bytes: latencies are
	// compared per quantum.
	quantum    = 256 << 10
	speedAlpha = 0.2
	samples    = 128
	// forget is the half-life of what is known of a member: one that was slow is
	// tried again some time.
	forget   = time.Second
	lateCost = 10 * time.Second
)

// speeds knows how fast the members answer.
type speeds struct {
	mu     sync.Mutex
	nodes  map[ring.NodeID]*speed
	recent [samples]time.Duration
	n      int // samples so far
	p95    time.Duration
}

type speed struct {
	cost    time.Duration // per quantum, smoothed
	at      time.Time     // of the last observation
	flights int
}

func newSpeeds() *speeds { return &speeds{nodes: map[ring.NodeID]*speed{}} }

func quanta(bytes int64) float64 { return 1 + float64(bytes)/quantum }

func (s *speeds) node(id ring.NodeID) *speed {
	n := s.nodes[id]
	if n == nil {
		n = &speed{}
		s.nodes[id] = n
	}
	return n
}

// now is the node's cost as it fades with time.
func (n *speed) now(t time.Time) time.Duration {
	age := t.Sub(n.at)
	if age <= 0 || n.cost == 0 {
		return n.cost
	}
	return time.Duration(float64(n.cost) * math.Exp2(-float64(age)/float64(forget)))
}

// cost is what a fetch from the member is expected to take, with the load that
// this node puts on it now.
func (s *speeds) cost(id ring.NodeID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(id)
	return n.now(time.Now()) * time.Duration(2+n.flights) / 2
}

// begin and end enclose a fetch; took is 0 if it says nothing of the member's
// speed.
func (s *speeds) begin(id ring.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node(id).flights++
}

func (s *speeds) end(id ring.NodeID, took time.Duration, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(id)
	n.flights--
	if took <= 0 {
		return
	}
	each := time.Duration(float64(took) / quanta(bytes))
	t := time.Now()
	old := n.now(t)
	if old == 0 || old > 10*each { // nothing is known, or it was late and is back
		old = each
	}
	n.cost, n.at = old+time.Duration(speedAlpha*float64(each-old)), t
	s.recent[s.n%samples] = each
	if s.n++; s.n%16 == 0 || s.n < 16 {
		sorted := slices.Clone(s.recent[:min(s.n, samples)])
		slices.Sort(sorted)
		s.p95 = sorted[len(sorted)*95/100]
	}
}

// late notes that the member did not answer in time: the others come first for
// a while.
func (s *speeds) late(id ring.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(id)
	n.cost, n.at = lateCost, time.Now()
}

// hedge is how long to wait for an answer of so many bytes before another
// member is asked.
func (s *speeds) hedge(bytes int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n < 8 {
		return firstHedge
	}
	return min(max(time.Duration(float64(s.p95)*quanta(bytes)), minHedge), maxHedge)
}

// keep forgets the members that are gone.
func (s *speeds) keep(in func(ring.NodeID) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.nodes {
		if n.flights == 0 && !in(id) {
			delete(s.nodes, id)
		}
	}
}
