package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rain/ring"
	"rain/vip/table"
)

const testLease = 180 * time.Millisecond

// cluster is a ring in virtual time: one order of ops, delivered to each member
// with a delay of its own. It checks that an address has one acting holder.
type cluster struct {
	t       *testing.T
	ctx     context.Context
	rand    *rand.Rand
	start   time.Time
	mu      sync.Mutex
	index   uint64
	view    ring.View
	members []*fake
	holders map[netip.Addr]*fake
	bound   int            // sockets that exist
	wg      sync.WaitGroup // those who deliver
	// Of tests with real sockets:
	clock  func() ring.Instant
	lease  time.Duration
	driver Driver // of who joins next
	serve  Serve
	leaver func(*fake) Driver // nil: they are none
}

func newCluster(t *testing.T, ctx context.Context, seed uint64) *cluster {
	return &cluster{t: t, ctx: ctx, start: time.Now(), rand: rand.New(rand.NewPCG(seed, 1)), holders: map[netip.Addr]*fake{}, lease: testLease}
}

func (c *cluster) now() ring.Instant {
	if c.clock != nil {
		return c.clock()
	}
	return ring.Instant(time.Since(c.start)) + 1e9
}

// fake is a member: its ring and its driver.
type fake struct {
	c       *cluster
	self    ring.Member
	rider   *table.Rider
	m       *Manager
	queue   chan func()
	stop    context.CancelFunc
	done    chan error
	frozen  ring.Instant // the end of its lease, once it is cut off; 0: it lives
	held    map[netip.Addr]*fakeListener
	noReady atomic.Bool
	unfit   atomic.Bool
	busy    atomic.Bool
	slow    atomic.Bool // its server needs a while to end
	changed func()
}

// join adds a member and its view.
func (c *cluster) join(id ring.NodeID, preparer bool, none bool) *fake {
	f := &fake{c: c, self: ring.Member{ID: id, Inc: 1}, rider: table.NewRider(), queue: make(chan func(), 10000), held: map[netip.Addr]*fakeListener{}}
	c.mu.Lock()
	var moved sync.WaitGroup
	if k := slices.IndexFunc(c.members, func(o *fake) bool { return o.frozen == 0 }); k >= 0 {
		c.transfer(c.members[k], f, &moved)
	}
	c.members = append(c.members, f)
	v := ring.View{Number: c.view.Number + 1, Members: append([]ring.ViewMember(nil), c.view.Members...)}
	v.Members = append(v.Members, ring.ViewMember{Member: f.self, Since: v.Number})
	c.setView(v, 0)
	c.mu.Unlock()
	defer moved.Wait()
	cfg := DefaultConfig()
	cfg.Lease = testLease
	cfg.EndTold = id%2 == 0 // both ways must do
	var d Driver = plainDriver{f}
	if preparer {
		d = f
	}
	if c.leaver != nil {
		d = c.leaver(f)
	}
	if none {
		d = None{}
	}
	serve := Serve(serveFake)
	if c.driver != nil {
		d, serve = c.driver, c.serve
	}
	m, err := New(cfg, f, d, f.rider, serve, slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(c.ctx)
	f.m, f.stop, f.done = m, stop, make(chan error, 1)
	c.wg.Go(func() {
		for {
			select {
			case <-c.ctx.Done():
				return
			case g := <-f.queue:
				g()
			}
		}
	})
	c.wg.Go(func() { f.renew(ctx) })
	go func() { f.done <- m.Run(ctx) }()
	return f
}

// renew is what the token does: it tells the manager of each new lease.
func (f *fake) renew(ctx context.Context) {
	told, ended := ring.Instant(0), ring.Instant(0)
	for ctx.Err() == nil {
		switch until := f.LeaseUntil(); {
		case until != told:
			told = until
			f.m.Renew(until)
		case until != ended && until <= f.Now():
			ended = until
			f.m.Renew(until)
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// transfer gives f the state that from will have after all ops so far.
func (c *cluster) transfer(from, f *fake, moved *sync.WaitGroup) {
	var b bytes.Buffer
	var made sync.WaitGroup
	made.Add(1)
	moved.Add(1)
	index, v := c.index, c.view
	from.queue <- func() {
		if err := from.rider.Snapshot(&b); err != nil {
			c.t.Error(err)
		}
		made.Done()
	}
	f.queue <- func() {
		made.Wait()
		if err := f.rider.Restore(&b); err != nil {
			c.t.Error(err)
		}
		// A joiner counts the whole wait from here.
		f.rider.View(index, v, c.now().Add(testLease+testLease/8))
		moved.Done()
	}
}

// setView must be called with mu held.
func (c *cluster) setView(v ring.View, wait time.Duration) {
	c.view = v
	c.index++
	for _, f := range c.members {
		c.deliver(f, func(index uint64) {
			freeAt := ring.Instant(0)
			if wait > 0 {
				freeAt = c.now().Add(wait)
			}
			f.rider.View(index, v, freeAt)
		}, nil)
	}
}

func (c *cluster) deliver(f *fake, apply func(index uint64), after func()) {
	index, delay := c.index, time.Duration(c.rand.IntN(15))*time.Millisecond
	f.queue <- func() {
		time.Sleep(delay)
		c.mu.Lock()
		cut := f.frozen != 0
		c.mu.Unlock()
		if !cut {
			apply(index)
		}
		if after != nil {
			after()
		}
	}
}

// kill cuts a member off: its guard ends what it holds with its lease; the rest
// makes a view without it.
func (c *cluster) kill(f *fake) {
	c.mu.Lock()
	f.frozen = c.now().Add(testLease)
	c.mu.Unlock()
	time.Sleep(30 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	time.AfterFunc(testLease, f.stop) // what it did until its lease's end counts, no more
	v := ring.View{Number: c.view.Number + 1}
	for _, m := range c.view.Members {
		if m.Member != f.self {
			v.Members = append(v.Members, m)
		}
	}
	c.setView(v, testLease+testLease/8)
}

func (f *fake) Self() ring.Member { return f.self }
func (f *fake) Now() ring.Instant { return f.c.now() }
func (f *fake) LeaseUntil() ring.Instant {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if f.frozen != 0 {
		return f.frozen
	}
	return f.c.now().Add(f.c.lease)
}

func (f *fake) Propose(ctx context.Context, op []byte) ([]byte, error) {
	c := f.c
	time.Sleep(5 * time.Millisecond)
	c.mu.Lock()
	if f.frozen != 0 || !c.view.Has(f.self) {
		c.mu.Unlock()
		return nil, ring.ErrNotPrimary
	}
	c.index++
	result := make(chan []byte, 1)
	for _, o := range c.members {
		var res []byte
		var after func()
		if o == f {
			after = func() { result <- res }
		}
		c.deliver(o, func(index uint64) { res = o.rider.Apply(index, f.self, op) }, after)
	}
	c.mu.Unlock()
	select {
	case r := <-result:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type fakeListener struct {
	f    *fake
	addr netip.Addr
	once sync.Once
	end  chan struct{}
}

func (l *fakeListener) Accept() (net.Conn, error) { <-l.end; return nil, net.ErrClosed }
func (l *fakeListener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.addr, 80))
}
func (l *fakeListener) Close() error {
	l.once.Do(func() {
		close(l.end)
		c := l.f.c
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bound--
		if c.holders[l.addr] == l.f {
			delete(c.holders, l.addr)
		}
	})
	return nil
}

// serveFake is the moment of truth: who serves is the holder.
func serveFake(_ context.Context, ln net.Listener, addr netip.Addr) error {
	l := ln.(*fakeListener)
	c := l.f.c
	c.mu.Lock()
	select {
	case <-l.end:
	default:
		if o := c.holders[addr]; o != nil {
			c.t.Errorf("%s serves %s while %s does", l.f.self, addr, o.self)
		}
		c.holders[addr] = l.f
	}
	c.mu.Unlock()
	_, err := ln.Accept()
	if l.f.slow.Load() { // a connection is on its way from Accept to the server
		time.Sleep(300 * time.Millisecond)
		c.mu.Lock()
		defer c.mu.Unlock()
		if e := l.f.rider.Table().Find(addr); e == nil || e.Owner != l.f.self {
			c.t.Errorf("%s was given away before its server had ended: %+v", addr, e)
		}
	}
	return err
}

func (f *fake) Acquire(ctx context.Context, a table.Address) (net.Listener, error) {
	time.Sleep(time.Millisecond)
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	l := &fakeListener{f: f, addr: a.Addr(), end: make(chan struct{})}
	f.c.bound++
	f.held[a.Addr()] = l
	return l, nil
}

func (f *fake) Prepare(ctx context.Context, a table.Address) (net.Listener, error) {
	if f.noReady.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.Acquire(ctx, a)
}
func (f *fake) Promote(netip.Addr) {}
func (f *fake) Steer(ctx context.Context, _ netip.Addr) error {
	time.Sleep(3 * time.Millisecond)
	if f.busy.Load() {
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
		return ErrBusy
	}
	return nil
}
func (f *fake) Renew(ring.Instant) {}
func (f *fake) Release(a netip.Addr) {
	f.c.mu.Lock()
	l := f.held[a]
	delete(f.held, a)
	f.c.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// leaverDriver is a driver whose connections break with the address.
type leaverDriver struct {
	*fake
	left, steered *atomic.Int64
}

func (l leaverDriver) Leave(context.Context, netip.Addr) error {
	l.left.Add(1)
	time.Sleep(100 * time.Millisecond)
	if l.busy.Load() {
		return ErrBusy
	}
	return nil
}

func (l leaverDriver) Steer(ctx context.Context, a netip.Addr) error {
	l.steered.Add(1)
	return l.fake.Steer(ctx, a)
}

// plainDriver hides that fake is a Preparer.
type plainDriver struct{ f *fake }

func (p plainDriver) Acquire(ctx context.Context, a table.Address) (net.Listener, error) {
	return p.f.Acquire(ctx, a)
}
func (p plainDriver) Release(a netip.Addr) { p.f.Release(a) }
func (p plainDriver) Renew(ring.Instant)   {}

// counts is how many addresses each member serves at this moment.
func (c *cluster) counts() map[ring.NodeID]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := map[ring.NodeID]int{}
	for _, f := range c.holders {
		n[f.self.ID]++
	}
	return n
}

func (c *cluster) expect(what string, want map[ring.NodeID]int) {
	c.t.Helper()
	if got := c.counts(); fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("%s: served %v, want %v\n%+v", what, got, want, c.members[0].m.Status())
	}
}

func testPools(n int) []table.Pool {
	p := table.Pool{Name: "web"}
	for i := range n {
		p.Addresses = append(p.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), 32))
	}
	return []table.Pool{p}
}

// bubble runs a test in virtual time, with and without a Preparer, for some seeds.
func bubble(t *testing.T, f func(c *cluster, preparer bool)) {
	for seed := range uint64(4) {
		for _, preparer := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d,preparer=%v", seed, preparer), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					c := newCluster(t, ctx, seed)
					f(c, preparer)
					cancel()
					for _, m := range c.members {
						if err := <-m.done; !errors.Is(err, context.Canceled) {
							t.Errorf("Run = %v", err)
						}
					}
					c.wg.Wait()
					if c.bound != 0 {
						t.Errorf("%d sockets left after Run", c.bound)
					}
				})
			})
		}
	}
}
