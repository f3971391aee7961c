// Package effecttest has a queue and a catalog in memory that several members
// share, for tests of what stands on package effect. Ops are applied at once, in
// the order of the calls, as if the token came by.
package effecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"rain/ring"
	"rain/snow/queue"
	"rain/store/catalog"
)

// Cluster is what all members have in common.
type Cluster struct {
	mu      sync.Mutex
	index   uint64
	view    ring.View
	queue   *queue.Rider
	catalog *catalog.Table
	now     atomic.Int64
}

// New makes a cluster of the nodes 0.1.0.1 to 0.1.0.n.
func New(n int) *Cluster {
	c := &Cluster{catalog: catalog.New(nil)}
	c.queue = queue.NewRider(map[ring.RiderID]queue.Applier{ring.RiderCatalog: c.catalog})
	for i := range n {
		c.view.Members = append(c.view.Members, ring.ViewMember{Member: ring.Member{ID: nodeID(i + 1), Inc: 1}})
	}
	c.change(0)
	return c
}

func nodeID(i int) ring.NodeID { return ring.NodeID(1<<16 + i) }

func (c *Cluster) change(freeAt ring.Instant) {
	c.index++
	c.view.Number++
	v := c.view
	v.Members = slices.Clone(v.Members)
	c.queue.View(c.index, v, freeAt)
}

// Catalog is the table that inner ops change.
func (c *Cluster) Catalog() *catalog.View { return c.catalog.Now() }

// Bucket makes a bucket.
func (c *Cluster) Bucket(name string) error {
	op, err := catalog.EncodeBucket(name, 0, 0, 0)
	if err != nil {
		return err
	}
	c.Apply(op)
	return nil
}

// Apply applies an op of the catalog's.
func (c *Cluster) Apply(op []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	return c.catalog.Apply(c.index, ring.Member{}, op)
}

// Leave takes node i out of the view. What it owned may be used at freeAt.
func (c *Cluster) Leave(i int, freeAt ring.Instant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Members = slices.DeleteFunc(c.view.Members, func(m ring.ViewMember) bool { return m.ID == nodeID(i) })
	c.change(freeAt)
}

// SetNow sets the members' clocks.
func (c *Cluster) SetNow(t ring.Instant) { c.now.Store(int64(t)) }

// Snapshot is the queue's state as it would be given to a joiner.
func (c *Cluster) Snapshot() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b bytes.Buffer
	err := c.queue.Snapshot(&b)
	return b.Bytes(), err
}

// Ledger is the queue as node i has it. It is an effect.Ledger.
type Ledger struct {
	c      *Cluster
	member ring.Member

	mu       sync.Mutex
	isolated bool
	before   func(op *queue.Op) error
	after    func(op *queue.Op, v queue.Verdict) error
}

// Node is the queue as node i has it, from 1.
func (c *Cluster) Node(i int) *Ledger {
	return &Ledger{c: c, member: ring.Member{ID: nodeID(i), Inc: 1}}
}

// Isolate takes the node's lease, or gives it back.
func (l *Ledger) Isolate(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isolated = on
}

// Hook has before called for each op before it is applied, and after when it was;
// an error is what the proposer gets instead. Either may be nil.
func (l *Ledger) Hook(before func(op *queue.Op) error, after func(op *queue.Op, v queue.Verdict) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before, l.after = before, after
}

// Propose implements effect.Ledger.
func (l *Ledger) Propose(ctx context.Context, op *queue.Op, _ bool) (queue.Verdict, error) {
	l.mu.Lock()
	before, after, isolated := l.before, l.after, l.isolated
	l.mu.Unlock()
	if isolated {
		return queue.Verdict{}, ring.ErrNotPrimary
	}
	b, err := op.Encode()
	if err == nil && before != nil {
		err = before(op)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return queue.Verdict{}, err
	}
	l.c.mu.Lock()
	l.c.index++
	res := l.c.queue.Apply(l.c.index, l.member, b)
	l.c.mu.Unlock()
	v, err := queue.ParseVerdict(res)
	if err == nil && after != nil {
		err = after(op, v)
	}
	return v, err
}

// Self implements effect.Ledger.
func (l *Ledger) Self() ring.Member { return l.member }

// Table implements effect.Ledger.
func (l *Ledger) Table() *queue.Table { return l.c.queue.Table() }

// Now implements effect.Ledger.
func (l *Ledger) Now() ring.Instant { return ring.Instant(l.c.now.Load()) }

var errIsolated = errors.New("the test took the lease")

// MayAct implements effect.Ledger.
func (l *Ledger) MayAct() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isolated {
		return fmt.Errorf("effecttest: %w", errIsolated)
	}
	return nil
}
