package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring"
	"rain/vip/guard"
	"rain/vip/table"
)

const (
	bindRetry = time.Millisecond
	// A guard that does not answer for this long is frozen: the node does it.
	guardPatience = 200 * time.Millisecond
)

// Driver holds addresses for one node.
type Driver struct {
	cfg   Config
	log   *slog.Logger
	lease *guard.Lease
	wg    sync.WaitGroup // guards' mourners, and the watchers of links and claims
	stop  context.CancelFunc
	nics  *nics

	leaseMu sync.RWMutex // Close against Renew: the page must not go while it is written

	starting sync.Mutex // one Start of a guard at a time
	mu       sync.Mutex
	closed   bool
	guard    *guard.Guard
	held     map[netip.Addr]*listener
	leaving  map[netip.Addr]*departure
}

// New starts the guard and takes off what is left of an earlier life.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Driver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	warnings, err := Check(cfg)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		log.Warn("a setting of the kernel may mislead neighbours", slog.String("remedy", w))
	}
	for addr := range cfg.Interfaces {
		from, err := takeOff(addr)
		if err != nil {
			return nil, err
		}
		if len(from) > 0 {
			log.Warn("the address was here already; it is taken off, it belongs to the cluster", slog.String("vip", addr.String()), slog.Any("interfaces", from))
		}
	}
	lease, err := guard.NewLease()
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	d := &Driver{
		cfg: cfg, log: log, lease: lease, stop: stop,
		held: map[netip.Addr]*listener{}, leaving: map[netip.Addr]*departure{},
	}
	d.nics = newNICs(d)
	if err := d.nics.start(life, &d.wg); err != nil {
		d.Close()
		return nil, err
	}
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
		d.log.Info("the guard ended an address with the lease")
	}})
	if err != nil {
		return nil, err
	}
	if err := g.Open(ctx); err != nil {
		g.Close()
		if errors.Is(err, unix.EPERM) {
			return nil, ErrCapability
		}
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guard = g
	d.wg.Go(func() { d.mourn(g) })
	return g, nil
}

// mourn ends what a dead guard guarded: unguarded it would outlive a freeze.
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
		_ = l.Close() // cannot fail; its server ends, and the manager acquires anew
	}
	if !closed {
		d.log.Warn("the guard process is gone; its addresses are off until another runs", slog.Int("pid", g.Pid()), slog.Int("addresses", len(lost)))
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

// Acquire listens on the address, puts it on its interface and announces it.
func (d *Driver) Acquire(ctx context.Context, addr table.Address) (net.Listener, error) {
	l, err := d.listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := d.occupy(ctx, l); err != nil {
		d.Release(addr.Addr())
		return nil, err
	}
	return l, nil
}

// Prepare listens beforehand; the address comes with Promote. Nothing arrives
// before that.
func (d *Driver) Prepare(ctx context.Context, addr table.Address) (net.Listener, error) {
	return d.listen(ctx, addr)
}

// Promote puts a prepared address on its interface, or ends a departure that
// came to nothing. If it cannot, the listener ends and the manager tries anew.
func (d *Driver) Promote(addr netip.Addr) {
	d.stay(addr)
	l := d.find(addr)
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	if err := d.occupy(ctx, l); err != nil {
		d.log.Warn("cannot hold the address that was handed over", slog.String("vip", addr.String()), slog.Any("err", err))
		_ = l.Close() // cannot fail
	}
}

// occupy has the guard put the address on. It does nothing if it is.
func (d *Driver) occupy(ctx context.Context, l *listener) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return fmt.Errorf("vip linux: hold %s: %w", l.addr, net.ErrClosed)
	case l.claim != 0:
		return nil
	}
	return d.putOn(ctx, l)
}

// putOn has the guard hold the address where it should be now. The caller has
// the listener's lock.
func (d *Driver) putOn(ctx context.Context, l *listener) error {
	n, prefix, err := d.nics.place(l.addr)
	if err != nil {
		return err
	}
	frames, err := announcements(l.addr, n.mac)
	if err != nil {
		return err
	}
	claim, err := l.guard.Hold(ctx, guard.Address{Interface: n.index, Prefix: prefix, Frames: frames})
	if errors.Is(err, unix.EPERM) {
		return ErrCapability
	}
	if err != nil {
		return fmt.Errorf("vip linux: hold %s on %s: %w", prefix, n.name, err)
	}
	l.claim, l.nic = claim, n.index
	d.nics.sits(l.addr, n.name)
	return nil
}

// reseat puts the held addresses whose interface went down on another one.
func (d *Driver) reseat() {
	d.mu.Lock()
	held := slices.Collect(maps.Values(d.held))
	d.mu.Unlock()
	for _, l := range held {
		d.move(l)
	}
}

// move holds an address where it should be now. The guard takes it off where it
// was. Where there is no other interface the node is unfit, and the address goes.
func (d *Driver) move(l *listener) {
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	l.mu.Lock()
	n, _, err := d.nics.place(l.addr)
	if err != nil || l.closed || l.claim == 0 || n.index == l.nic {
		l.mu.Unlock()
		return
	}
	err = d.putOn(ctx, l)
	l.mu.Unlock()
	if err != nil {
		d.log.Warn("the address could not go to another interface; it is taken anew", slog.String("vip", l.addr.String()), slog.Any("err", err))
		_ = l.Close() // cannot fail; the manager acquires anew
		return
	}
	d.log.Info("the address went to another interface", slog.String("vip", l.addr.String()), slog.String("interface", n.name))
}

// vacate takes the address off. Its listener listens on: nobody is refused.
func (d *Driver) vacate(l *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.claim == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	if err := l.guard.Drop(ctx, l.claim); err == nil {
		return
	}
	// The guard is gone or frozen. Should it thaw in the midst of a renewal, the
	// kernel forgets the address a second later.
	if _, err := takeOff(l.addr); err != nil {
		d.log.Error("the address could not be taken off its interface; the kernel forgets it within a second or so", slog.String("vip", l.addr.String()), slog.Any("err", err))
	}
}

// Release takes the address off and stops listening.
func (d *Driver) Release(addr netip.Addr) {
	d.mu.Lock()
	l := d.held[addr]
	delete(d.held, addr)
	d.mu.Unlock()
	if l != nil {
		_ = l.Close() // cannot fail
	}
}

func (d *Driver) find(addr netip.Addr) *listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[addr]
}

// Close releases everything, ends the guard and waits for its end.
func (d *Driver) Close() {
	d.mu.Lock()
	d.closed = true
	held := d.held
	d.held = map[netip.Addr]*listener{}
	d.mu.Unlock()
	for _, l := range held {
		_ = l.Close() // cannot fail
	}
	d.starting.Lock() // a guard that is being started is ours to end
	d.mu.Lock()
	g := d.guard
	d.mu.Unlock()
	d.starting.Unlock()
	if g != nil {
		g.Close()
	}
	d.stop()
	d.nics.close()
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

func (d *Driver) listen(ctx context.Context, addr table.Address) (*listener, error) {
	a := addr.Addr()
	d.stay(a)
	if d.find(a) != nil {
		d.Release(a) // a listener of before the last lease's end
	}
	if err := d.nics.learn(addr); err != nil {
		return nil, err
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
			return nil, fmt.Errorf("%w (another program listens there, or on that port of all addresses)", err)
		case <-time.After(bindRetry):
		}
	}
}

func (d *Driver) try(ctx context.Context, a netip.Addr) (*listener, error) {
	g, err := d.guarded(ctx)
	if err != nil {
		return nil, err
	}
	l, err := newListener(ctx, d, g, netip.AddrPortFrom(a, d.cfg.Port))
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	usable := !d.closed && d.guard == g
	if usable {
		d.held[a] = l
	}
	d.mu.Unlock()
	if !usable { // closed or mourned meanwhile: nobody would end it
		_ = l.Close() // cannot fail
		return nil, fmt.Errorf("vip linux: listen on %s: %w", a, guard.ErrGone)
	}
	return l, nil
}
