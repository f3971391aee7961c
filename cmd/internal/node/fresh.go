package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/ring/host"
	"rain/snow/admin"
	"rain/snow/queue"
	"rain/store/catalog"
)

// freshness makes reads of objects linearizable. A member has applied every op
// that was acknowledged, but perhaps also one that others have not applied yet:
// who read that here and then read there would see time go back. So what is read
// must be known to be everywhere. A node knows that of what it put itself; of
// what another put it finds out, once for all that came until then, with an op
// that changes nothing and waits for all members' disks and eyes.
//
// That a member with a lease has applied what was acknowledged: an op is
// acknowledged when all members of the views in force have applied it, and when
// the leases of those that left are over (fence).
type freshness struct {
	state      shared
	everywhere atomic.Uint64                // all ops up to here are
	settled    atomic.Pointer[catalog.View] // all that is in it is

	mu   sync.Mutex
	next *barrier // who comes now waits for this one
	wake chan struct{}
}

// shared is what freshness needs of the node.
type shared struct {
	catalog func() *catalog.View
	leased  func() bool
	late    time.Duration                   // a lease may be, and comes back
	settle  func(ctx context.Context) error // an op: all before it here is everywhere
}

// barrier is one op that many wait for.
type barrier struct {
	covers uint64
	done   chan struct{}
	err    error
}

func newFreshness(s shared) *freshness {
	return &freshness{state: s, wake: make(chan struct{}, 1)}
}

// shared is the node as freshness wants it.
func (n *node) shared() shared {
	return shared{
		catalog: n.store.Catalog, leased: n.host.Primary, late: n.timing.StarveTimeout + n.timing.Lease,
		settle: func(ctx context.Context) error {
			op, err := (&queue.Op{Kind: queue.OpSettle}).Encode() // of nothing
			if err == nil {
				_, err = n.host.Propose(ctx, ring.RiderQueue, op, host.Opt{Durable: true, All: true})
			}
			if err == nil {
				err = n.fence(ctx)
			}
			return err
		},
	}
}

// raise notes that all ops up to index are everywhere.
func (f *freshness) raise(index uint64) {
	for index != catalog.IndexUnknown {
		old := f.everywhere.Load()
		if old >= index || f.everywhere.CompareAndSwap(old, index) {
			return
		}
	}
}

// ensure returns nil when no node can answer with something older than the version
// (0: nothing is there) that this node has just read, and the reading itself was
// not too old.
func (f *freshness) ensure(ctx context.Context, version uint64) error {
	view := f.state.catalog() // what was read is in it, or older
	if err := f.leased(ctx); err != nil {
		return err
	}
	if version == 0 {
		version = view.Index()
	}
	if f.settled.Load() == view || f.everywhere.Load() >= version && version != catalog.IndexUnknown {
		return nil
	}
	b := f.join(version)
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("node: is what was read everywhere: %w", ctx.Err())
	}
}

// leased says whether this node has its lease, and waits for one that is only
// late: what was read without it is to be read again then.
func (f *freshness) leased(ctx context.Context) error {
	if f.state.leased() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.state.late)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f.state.leased() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("node: what was read may be old: %w", ring.ErrNotPrimary)
		case <-tick.C:
		}
	}
	return admin.ErrReadAgain
}

// join takes part in the next barrier.
func (f *freshness) join(version uint64) *barrier {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = &barrier{done: make(chan struct{})}
	}
	if version != catalog.IndexUnknown {
		f.next.covers = max(f.next.covers, version)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return f.next
}

// run makes barriers, one after the other, for those who wait.
func (f *freshness) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			f.take().end(ctx.Err())
			return nil
		case <-f.wake:
		}
		if b := f.take(); b != nil {
			b.end(f.barrier(ctx, b))
		}
	}
}

func (f *freshness) take() *barrier {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.next
	f.next = nil
	return b
}

func (b *barrier) end(err error) {
	if b != nil {
		b.err = err
		close(b.done)
	}
}

// barrierTime bounds one op: a reader rather gets a marked answer.
const barrierTime = 2 * time.Second

// barrier makes sure of all that this node knows as it begins.
func (f *freshness) barrier(ctx context.Context, b *barrier) error {
	ctx, cancel := context.WithTimeout(ctx, barrierTime)
	defer cancel()
	view := f.state.catalog()
	if err := f.state.settle(ctx); err != nil {
		return fmt.Errorf("node: is what was read everywhere: %w", err)
	}
	f.settled.Store(view)
	f.raise(b.covers)
	f.raise(view.Index())
	return nil
}
