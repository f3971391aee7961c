package loopback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring"
	"rain/vip/guard"
	"rain/vip/sockdiag"
	"rain/vip/table"
)

const (
	backlog = 4096
	// A bind may fail while the kernel takes a dead node's socket down.
	bindRetry = time.Millisecond
	// Steer gives up on a queue that does not empty: its server does not accept,
	// and on a handshake whose client does not end it.
	// Looks count, too: on a busy machine server and looks are late together.
	steerLimit = time.Second
	steerTries = 100
	steerStep  = time.Millisecond
	// How many looks in a row must find nothing, and how many look for handshakes
	// that are new.
	steerLooks     = 3
	handshakeLooks = 2
)

// Driver holds addresses for one node.
type Driver struct {
	cfg   Config
	log   *slog.Logger
	lease *guard.Lease
	wg    sync.WaitGroup // one for each guard: waits for its end

	patience time.Duration // steerLimit; a test has more

	leaseMu sync.RWMutex // Close against Renew: the page must not go while it is written

	starting sync.Mutex // one Start of a guard at a time
	mu       sync.Mutex
	closed   bool
	guard    *guard.Guard
	held     map[netip.Addr]*listener
}

// New starts the guard.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Driver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	lease, err := guard.NewLease()
	if err != nil {
		return nil, err
	}
	d := &Driver{cfg: cfg, log: log, lease: lease, patience: steerLimit, held: map[netip.Addr]*listener{}}
	if _, err := d.guarded(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// guarded is the living guard, or a new one.
func (d *Driver) guarded(ctx context.Context) (*guard.Guard, error) {
	d.starting.Lock()
	defer d.starting.Unlock()
	d.mu.Lock()
	g, closed := d.guard, d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case g != nil:
		return g, nil
	}
	g, err := guard.Start(ctx, guard.Config{Lease: d.lease, Exe: d.cfg.Exe, Args: d.cfg.Args, OnEnded: func(uint32) {
		d.log.Info("the guard shut an address at the lease's end")
	}})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guard = g
	d.wg.Go(func() { d.mourn(g) })
	return g, nil
}

// mourn shuts what a dead guard guarded: unguarded sockets would outlive a freeze.
func (d *Driver) mourn(g *guard.Guard) {
	<-g.Done()
	d.mu.Lock()
	var lost []*listener
	for _, l := range d.held {
		if l.guard == g {
			lost = append(lost, l)
		}
	}
	closed := d.closed
	d.guard = nil
	d.mu.Unlock()
	for _, l := range lost {
		l.shut()
	}
	if !closed {
		d.log.Warn("the guard process is gone; its addresses are shut until another runs", slog.Int("pid", g.Pid()), slog.Int("addresses", len(lost)))
	}
}

// GuardPid is the guard process's id; 0: none runs at this moment.
func (d *Driver) GuardPid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guard == nil {
		return 0
	}
	return d.guard.Pid()
}

// Renew tells the guard until when the lease runs. It never waits for anything slow.
func (d *Driver) Renew(until ring.Instant) {
	d.leaseMu.RLock()
	defer d.leaseMu.RUnlock()
	if d.lease != nil {
		d.lease.Renew(until)
	}
}

// Acquire listens on the address, as its holder. It tries again while others'
// sockets go away, until ctx ends.
func (d *Driver) Acquire(ctx context.Context, addr table.Address) (net.Listener, error) {
	l, err := d.listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	d.Promote(addr.Addr())
	return l, nil
}

// Prepare listens on the address beside its holder, as its successor. Nothing
// may be accepted before the address is this node's.
func (d *Driver) Prepare(ctx context.Context, addr table.Address) (net.Listener, error) {
	return d.listen(ctx, addr)
}

// Promote makes a prepared listener the holder's: later successors get nothing
// before Steer.
func (d *Driver) Promote(addr netip.Addr) {
	if l := d.find(addr); l != nil {
		if err := l.steer(0); err != nil {
			d.log.Warn("the next hand-over of the address may delay connections", slog.String("vip", addr.String()), slog.Any("err", err))
		}
	}
}

// Steer sends all new connections to the successor's listener. It returns when
// the own one has nothing left to accept and nothing can come any more; its server
// must go on accepting.
func (d *Driver) Steer(ctx context.Context, addr netip.Addr) error {
	l := d.find(addr)
	if l == nil {
		return fmt.Errorf("vip loopback: hand %s over: it is not held", addr)
	}
	if err := l.steer(1); err != nil {
		return err
	}
	h := &handshakes{to: netip.AddrPortFrom(addr, d.cfg.Port)}
	deadline := time.Now().Add(d.patience)
	for looks, empty := 0, 0; empty < steerLooks; looks++ {
		open := h.look() // before the queue: one that ended goes there
		n, err := l.queued()
		switch {
		case err != nil:
			return err
		case n == 0 && open == 0:
			empty++
		case looks >= steerTries && time.Now().After(deadline):
			return fmt.Errorf("vip loopback: hand %s over: after %s %d connections are not accepted by its server, and %d handshakes have not ended", addr, d.patience, n, open)
		default:
			empty = 0
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("vip loopback: hand %s over: %w", addr, ctx.Err())
		case <-time.After(steerStep):
		}
	}
	return h.err
}

// handshakes are those that may have chosen the old socket before the swap. The
// client's last packet is missing, and that may take: a client that is not run just
// then sends it late. Were the old socket shut before, the client would be reset.
type handshakes struct {
	to    netip.AddrPort
	open  map[netip.AddrPort]bool
	looks int
	err   error // of the last look that failed; what it would have shown counts as ended
}

// look says how many are left. Those that are new at the first looks count: a SYN
// that met the old program may still be on its way into the kernel's table. Later
// ones are the successor's.
func (h *handshakes) look() int {
	if h.looks++; h.looks > handshakeLooks && len(h.open) == 0 {
		return 0
	}
	socks, err := sockdiag.Connections(h.to, sockdiag.SynRecv)
	if err != nil {
		h.err = err
	}
	now := map[netip.AddrPort]bool{}
	for _, s := range socks {
		if h.looks <= handshakeLooks || h.open[s.Peer] {
			now[s.Peer] = true
		}
	}
	h.open = now
	return len(now)
}

func (d *Driver) find(addr netip.Addr) *listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[addr]
}

// Release stops listening: when it returns, nothing listens for this node there.
func (d *Driver) Release(addr netip.Addr) {
	d.mu.Lock()
	l := d.held[addr]
	delete(d.held, addr)
	d.mu.Unlock()
	if l != nil {
		l.shut()
		_ = l.guard.Shut(l.id) // if the guard is gone, so is its socket
	}
}

// Close releases everything, ends the guard and waits for its end.
func (d *Driver) Close() {
	d.mu.Lock()
	d.closed = true
	held := d.held
	d.held = map[netip.Addr]*listener{}
	d.mu.Unlock()
	for _, l := range held {
		l.shut()
	}
	d.starting.Lock() // a guard that is being started is ours to end
	d.mu.Lock()
	g := d.guard
	d.mu.Unlock()
	d.starting.Unlock()
	if g != nil {
		g.Close()
	}
	d.wg.Wait()
	d.leaseMu.Lock()
	defer d.leaseMu.Unlock()
	if d.lease != nil {
		if err := d.lease.Close(); err != nil {
			d.log.Warn("the lease page stays until the process ends", slog.Any("err", err))
		}
		d.lease = nil
	}
}

func (d *Driver) listen(ctx context.Context, addr table.Address) (net.Listener, error) {
	a := addr.Addr()
	if !a.Is4() || !a.IsLoopback() {
		return nil, fmt.Errorf(`vip loopback: %s is not in 127.0.0.0/8; change the pool's addresses, or set [vip] driver = "linux"`, a)
	}
	if d.find(a) != nil {
		d.Release(a) // a listener of before the last lease's end
	}
	for {
		l, err := d.try(ctx, a)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (another program listens there, or a node of another user)", err)
		case <-time.After(bindRetry):
		}
	}
}

func (d *Driver) try(ctx context.Context, a netip.Addr) (*listener, error) {
	g, err := d.guarded(ctx)
	if err != nil {
		return nil, err
	}
	l, err := newListener(ctx, g, netip.AddrPortFrom(a, d.cfg.Port))
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.guard != g { // closed or mourned meanwhile: nobody would shut it
		l.shut()
		return nil, fmt.Errorf("vip loopback: listen on %s: %w", a, guard.ErrGone)
	}
	d.held[a] = l
	return l, nil
}
