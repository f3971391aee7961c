package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
	"rain/ring/host/disk"
)

// datagrams is what the node needs of the transport.
type datagrams interface {
	Send(to ring.Member, msg []byte, ref uint64)
	SetMe(me ring.Member)
}

// bulkDialer gets a connection to another node's service.
type bulkDialer interface {
	Dial(ctx context.Context, peer ring.NodeID, service string) (net.Conn, error)
}

// RiderReg says which rider has which number.
type RiderReg struct {
	ID    ring.RiderID
	Rider ring.Rider
}

// ErrStopped says that the node is stopping.
var ErrStopped = errors.New("host: the node is stopping")

// Node is a running member of the ring, or one that tries to be.
type Node struct {
	cfg    Config
	log    *slog.Logger
	riders []RiderReg // ascending by ID
	blank  map[ring.RiderID][]byte
	disk   *disk.Disk
	tr     datagrams
	bulk   bulkDialer
	waker  *clock.Waker
	mail   *mailbox
	events *eventLog
	meter  *meter

	onLease func(ring.Instant)

	lease   atomic.Int64
	me      atomic.Pointer[ring.Member]
	view    atomic.Pointer[ring.View]
	member  atomic.Bool
	rows    atomic.Pointer[rowSet]
	diskErr atomic.Pointer[string]

	// With the turn only; see mailbox.
	m        *ring.Machine
	gone     bool                     // has left the ring
	force    bool                     // an operator's order: this disk alone may vote
	spoken   map[ring.NodeID]spokenBy // what members told in their rows
	asking   sync.WaitGroup           // questions to the witness
	life     atomic.Uint64            // counts machines; written with the turn only
	writer   *writer
	row      []byte
	ended    ring.Instant              // the lease whose end was told last
	since    map[ring.NodeID]time.Time // when an id came into the view or left it
	fetched  fetchState
	rejoin   ring.Incarnation
	tries    int  // cold starts in vain, over all lives
	settling bool // no snapshot for compaction under way

	slots   chan struct{}
	mu      sync.Mutex
	nextN   uint64
	waiting map[uint64]*waiter
	left    chan struct{}
	done    chan struct{}
}

type waiter struct {
	result []byte
	index  uint64
	done   chan error
}

// Open opens the data folder and loads what is there. Attach must follow before
// Run. The riders must be in their empty state.
func Open(cfg Config, riders []RiderReg, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: log, riders: slices.Clone(riders), blank: map[ring.RiderID][]byte{},
		mail: newMailbox(), events: newEventLog(cfg.Name), meter: newMeter(),
		slots: make(chan struct{}, 4096), waiting: map[uint64]*waiter{},
		left: make(chan struct{}), done: make(chan struct{}), since: map[ring.NodeID]time.Time{},
		onLease: func(ring.Instant) {}, spoken: map[ring.NodeID]spokenBy{},
	}
	n.rows.Store(newRowSet(nil))
	slices.SortFunc(n.riders, func(a, b RiderReg) int { return int(a.ID) - int(b.ID) })
	for _, r := range n.riders {
		b, err := snapshotBytes(r.Rider)
		if err != nil {
			return nil, fmt.Errorf("host: rider %d: %w", r.ID, err)
		}
		n.blank[r.ID] = b
	}
	d, err := disk.Open(cfg.Data, cfg.ID, log)
	if err != nil {
		return nil, err
	}
	n.disk = d
	if n.waker, err = clock.NewWaker(n.alarm); err != nil {
		return nil, errors.Join(fmt.Errorf("host: %w", err), d.Close())
	}
	if err := n.begin(); err != nil {
		n.waker.Close()
		return nil, errors.Join(err, d.Close())
	}
	return n, nil
}

// Attach gives the node its ways to the others.
func (n *Node) Attach(tr datagrams, bulk bulkDialer) { n.tr, n.bulk = tr, bulk }

// OnLease sets what is called, by who has the turn, whenever the lease changes,
// and once more with the same end when that has passed without a new one;
// it must only store a value or send a signal. Call it before Run.
func (n *Node) OnLease(f func(until ring.Instant)) { n.onLease = f }

// begin loads the disk and makes a machine with a new incarnation.
func (n *Node) begin() error {
	rec, _, err := n.disk.Load()
	if err != nil {
		return err
	}
	wall := max(time.Now().UnixMicro(), 1)
	inc, err := n.disk.NextIncarnation(max(uint64(wall), uint64(n.rejoin)+1))
	if err != nil {
		return err
	}
	if err := n.restoreFromDisk(rec); err != nil {
		return err
	}
	me := ring.Member{ID: n.cfg.ID, Inc: inc}
	n.rejoin = inc
	n.me.Store(&me)
	peers := make([]ring.NodeID, 0, len(n.cfg.Peers))
	for _, p := range n.cfg.Peers {
		peers = append(peers, p.ID)
	}
	founders := n.cfg.Founders
	if len(n.cfg.Met) > 0 && rec.Stamp.Epoch == 0 {
		founders = nil
	}
	n.m = ring.New(ring.Config{
		Me: me, Founders: founders, Peers: peers, Timing: n.cfg.Timing, Aggressive: n.cfg.Aggressive, Disk: rec, Seed: uint64(inc), Tries: n.tries, Force: n.force, Policy: n.cfg.Policy,
	})
	n.life.Add(1)
	return nil
}

// Self is this node's present identity.
func (n *Node) Self() ring.Member { return *n.me.Load() }

// Name is the node's name.
func (n *Node) Name() string { return n.cfg.Name }

// Now is the clock by which leases run.
func (n *Node) Now() ring.Instant { return clock.Now() }

// LeaseUntil is until when this node may act alone; 0: it may not.
func (n *Node) LeaseUntil() ring.Instant { return ring.Instant(n.lease.Load()) }

// Primary reports whether this node's lease runs now.
func (n *Node) Primary() bool { return n.Now() < n.LeaseUntil() }

// Member reports whether this node is a member of the ring, leased or not.
func (n *Node) Member() bool { return n.member.Load() }

// View is the newest view that was delivered to the riders.
func (n *Node) View() ring.View {
	if v := n.view.Load(); v != nil {
		return *v
	}
	return ring.View{}
}

// rowSet is the rows of a token.
type rowSet struct {
	rows    []ring.Row
	changed chan struct{} // closed when there are others
}

func newRowSet(rows []ring.Row) *rowSet { return &rowSet{rows: rows, changed: make(chan struct{})} }

// Rows are the members' load rows, as last seen on the token. The channel is
// closed when there are others.
func (n *Node) Rows() ([]ring.Row, <-chan struct{}) {
	r := n.rows.Load()
	return r.rows, r.changed
}

// SetRow puts bytes (at most ring.MaxRow) on the token under this node's name.
func (n *Node) SetRow(data []byte) {
	n.mail.put(func() {
		n.row = data
		n.step(ring.SetRow{Data: data})
	})
}

// SetAggressive changes the detection, for this life and those after it.
func (n *Node) SetAggressive(on bool) {
	n.mail.put(func() {
		n.cfg.Aggressive = on
		n.step(ring.SetDetection{Aggressive: on})
	})
}

// Opt says what a Propose waits for.
type Opt struct {
	Durable bool // a quorum has it on disk
	All     bool // every member of the view has applied it
}

// Propose puts an op on the token and returns the rider's result on this node.
// Errors: ring.ErrNotPrimary (nothing happened), ring.ErrOutcomeUnknown and the
// context's (the op may yet happen), ErrStopped.
func (n *Node) Propose(ctx context.Context, rider ring.RiderID, op []byte, o Opt) ([]byte, error) {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("host: waiting for a place among %d ops under way: %w", cap(n.slots), ctx.Err())
	case <-n.done:
		return nil, ErrStopped
	}
	w := &waiter{done: make(chan error, 1)}
	n.mu.Lock()
	n.nextN++
	id := n.nextN
	n.waiting[id] = w
	n.mu.Unlock()
	n.mail.put(ring.Propose{N: id, Rider: rider, Data: op, Durable: o.Durable, All: o.All})
	select {
	case err := <-w.done:
		return w.result, err
	case <-ctx.Done():
		n.forget(id)
		return nil, fmt.Errorf("%w (%w)", ring.ErrOutcomeUnknown, ctx.Err())
	case <-n.done:
		n.forget(id)
		return nil, ErrStopped
	}
}

func (n *Node) forget(id uint64) {
	n.mu.Lock()
	delete(n.waiting, id)
	n.mu.Unlock()
}

// ErrPrimary says that a forced start makes no sense: the cluster runs.
var ErrPrimary = errors.New("host: this node is in the primary component; there is nothing to force")

// ErrEmptyDisk says that there is nothing to start from.
var ErrEmptyDisk = errors.New("host: this node's ring has nothing on disk to start from; force a node that has, the one that was up last")

// Bootstrap gives up this node's life in the ring and starts one in which its own
// disk decides alone, see ring.Config.Force. It returns when that life has begun.
func (n *Node) Bootstrap(ctx context.Context) error {
	var err error
	if !n.do(ctx, func() {
		rec, _, loadErr := n.disk.Load()
		switch {
		case n.Primary():
			err = ErrPrimary
		case loadErr != nil:
			err = loadErr
		case rec.Stamp.Epoch == 0:
			err = ErrEmptyDisk
		default:
			n.force = true
			n.step(ring.Bootstrap{})
		}
	}) {
		return ErrStopped
	}
	return err
}

// Leave takes this node out of the ring for good: what it held must have been
// handed over. It returns when the others have gone on without it.
func (n *Node) Leave(ctx context.Context) error {
	n.mail.put(ring.Leave{})
	select {
	case <-n.left:
		return nil
	case <-n.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("host: leaving the ring: %w", ctx.Err())
	}
}
