package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/vip/table"
)

// Manager serves this node's share of the addresses. Make it with New.
type Manager struct {
	cfg    Config
	ring   Ring
	driver Driver
	prep   Preparer // the driver, if it is one; else nil
	leave  Leaver   // the same
	watch  Watcher  // the same
	rider  *table.Rider
	serve  Serve
	log    *slog.Logger

	wg   sync.WaitGroup // workers and servers
	poke chan struct{}  // something happened
	mu   sync.Mutex
	post []func() // results of workers, for the loop

	renewed atomic.Int64 // the lease's end as Renew was told last
	out     atomic.Bool  // the loop found no lease: it waits for one

	// The rest belongs to the loop.
	slots   map[netip.Addr]*slot
	seen    *table.Table // of which want is
	want    map[netip.Addr]ring.Member
	calm    ring.Instant // since when the view has been stable
	noOps   ring.Instant // no proposals before: the ring refused one
	unfit   error        // why this node can hold nothing now
	excused bool         // the cluster was told that this node is unfit, and not that it is fit
	telling bool         // it is being told
}

// slot is what this node does about one address.
type slot struct {
	addr   table.Address
	ln     net.Listener
	queues bool          // ln was prepared and nobody accepts from it yet
	served chan struct{} // closed when ln's server accepts no more; nil: it has none
	busy   bool          // a worker has this slot; the loop leaves it alone
	// stop ends the worker when the node may no longer act, or forNext: is no
	// longer the successor. nil: what the worker does cannot be called back.
	stop    context.CancelFunc
	forNext bool
	// ceded is the ownership (its index) under which this node never acts again.
	ceded    uint64
	notReady ring.Instant // when the Prepare seen last runs out
	prepared uint64       // the index of that Prepare
	retry    ring.Instant // no Acquire before
	fails    int          // of Acquire, one after the other
	gap      time.Duration
	telling  bool // the Served op is on its way
}

// New makes a manager. Run runs it.
func New(cfg Config, r Ring, d Driver, rider *table.Rider, serve Serve, log *slog.Logger) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: cfg, ring: r, driver: d, rider: rider, serve: serve, log: log,
		poke: make(chan struct{}, 1), slots: map[netip.Addr]*slot{},
	}
	m.prep, _ = d.(Preparer)
	m.leave, _ = d.(Leaver)
	if w, ok := d.(Watcher); ok {
		m.watch = w
		w.Notify(m.wake)
	}
	return m, nil
}

// Renew hands a new end of the lease to the driver. The ring's shell must call
// it for each change, after LeaseUntil tells the same; it never waits. What the
// manager sleeps for stays right while the lease only grows, so it is woken for
// a lease that comes back, for one that becomes shorter, and when it is told the
// same end again: then that is over.
func (m *Manager) Renew(until ring.Instant) {
	m.driver.Renew(until)
	if before := m.renewed.Swap(int64(until)); int64(until) <= before || m.out.Load() {
		m.wake()
	}
}

func (m *Manager) wake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// Run serves until ctx ends. When it returns nothing of it runs and nothing is
// held; what is still this node's in the table goes to others once the ring
// misses it (see Drain).
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer m.shutdown(cancel)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t := m.rider.Table()
		timer.Reset(m.step(ctx, t))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.Changed():
		case <-m.poke:
		case <-timer.C:
		}
	}
}

func (m *Manager) shutdown(cancel context.CancelFunc) {
	cancel()
	for _, s := range m.slots {
		if s.ln != nil {
			_ = s.ln.Close() // ends its server; the release below tells the driver
		}
	}
	m.wg.Wait()
	m.results()
	for _, s := range m.slots {
		m.release(s)
	}
	m.wg.Wait()
}

// results takes in what workers left.
func (m *Manager) results() {
	m.mu.Lock()
	post := m.post
	m.post = nil
	m.mu.Unlock()
	for _, f := range post {
		f()
	}
}

// after has the loop run f.
func (m *Manager) after(f func()) {
	m.mu.Lock()
	m.post = append(m.post, f)
	m.mu.Unlock()
	m.wake()
}

// work runs job beside the loop, with the slot locked against the loop, and then
// what it returns on the loop. done may be nil.
func (m *Manager) work(ctx context.Context, s *slot, job func(ctx context.Context) (done func())) {
	ctx, s.stop = context.WithCancel(ctx)
	stop := s.stop
	s.busy, s.forNext = true, false
	m.wg.Go(func() {
		defer stop()
		done := job(ctx)
		m.after(func() {
			s.busy = false
			if done != nil {
				done()
			}
		})
	})
}

// release stops listening. The server on the listener ends by itself.
func (m *Manager) release(s *slot) {
	if s.ln == nil {
		return
	}
	_ = s.ln.Close()
	m.driver.Release(s.addr.Addr())
	s.ln, s.queues, s.served = nil, false, nil
}

// propose sends an op. A refusal by the table is an error of its own kind.
func (m *Manager) propose(ctx context.Context, op table.Op) error {
	result, err := m.ring.Propose(ctx, op.Append(nil))
	switch {
	case err != nil:
		return fmt.Errorf("vip: propose: %w", err)
	case len(result) > 0:
		return &RefusedError{Text: string(result)}
	}
	return nil
}

// RefusedError says that the cluster's table did not allow an op: it changed
// nothing.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// surelyNot reports whether an op with this error has not happened and never will.
func surelyNot(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) || errors.Is(err, ring.ErrNotPrimary)
}

// quiet keeps an isolated node from proposing all the time.
const quiet = 20 * time.Millisecond

// failed is told of a proposal's end, on the loop.
func (m *Manager) failed(what string, addr netip.Addr, err error) {
	if err == nil {
		return
	}
	var refused *RefusedError
	level := slog.LevelDebug // isolation is told elsewhere
	if errors.As(err, &refused) {
		level = slog.LevelInfo
	} else {
		m.noOps = m.ring.Now().Add(quiet)
	}
	m.log.LogAttrs(context.Background(), level, "proposal came to nothing",
		slog.String("op", what), slog.String("vip", addr.String()), slog.Any("err", err))
}

func (m *Manager) nowMS() uint64 { return uint64(time.Now().UnixMilli()) }
