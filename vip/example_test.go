package vip_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/vip"
	"rain/vip/table"
)

// order stands for the ring: it applies each op on all members, in one order. A
// program takes ring/host for it, or a shell of its own round ring.Machine.
type order struct {
	began time.Time // the origin of the clock
	mu    sync.Mutex
	index uint64
	boxes []*box
}

// box is a node: what its manager needs of the ring, and its driver, which only
// notes what is held. Package loopback and package linux have real ones.
type box struct {
	*order
	me      ring.Member
	rider   *table.Rider
	manager *vip.Manager
	lease   atomic.Int64 // until when it runs
	held    sync.Map     // of *listener, by address
	die     context.CancelFunc
}

const lease = 200 * time.Millisecond

func (b *box) Self() ring.Member        { return b.me }
func (b *box) Now() ring.Instant        { return ring.Instant(time.Since(b.began)) + 1 }
func (b *box) LeaseUntil() ring.Instant { return ring.Instant(b.lease.Load()) }

// Propose applies an op everywhere.
func (b *box) Propose(_ context.Context, op []byte) (result []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	for _, o := range b.boxes {
		if r := o.rider.Apply(b.index, b.me, op); o == b {
			result = r
		}
	}
	return result, nil
}

// view tells all boxes who is a member. What members that left had is free when
// their leases must be over: the wait of a real ring.
func (o *order) view(number uint64, boxes ...*box) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.index++
	v := ring.View{Number: number}
	for _, b := range boxes {
		v.Members = append(v.Members, ring.ViewMember{Member: b.me, Since: 1})
	}
	for _, b := range boxes {
		b.rider.View(o.index, v, b.Now().Add(lease+lease/8))
	}
}

// Acquire begins to hold an address.
func (b *box) Acquire(_ context.Context, a table.Address) (net.Listener, error) {
	l := &listener{box: b, addr: a.Addr(), closed: make(chan struct{})}
	b.held.Store(a.Addr(), l)
	return l, nil
}

// Release ends it.
func (b *box) Release(a netip.Addr) { b.held.Delete(a) }

// Renew would tell the guard.
func (b *box) Renew(ring.Instant) {}

// listener is an address that is held; nobody calls.
type listener struct {
	box    *box
	addr   netip.Addr
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *listener) Close() error              { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr            { return &net.TCPAddr{IP: l.addr.AsSlice(), Port: 80} }

// start runs a manager on a box, and renews its lease as the token would.
func (b *box) start(ctx context.Context, running *sync.WaitGroup) error {
	cfg := vip.DefaultConfig()
	cfg.Lease, cfg.Settle = lease, 50*time.Millisecond
	serve := func(_ context.Context, ln net.Listener, _ netip.Addr) error {
		_, err := ln.Accept()
		return err
	}
	var err error
	if b.manager, err = vip.New(cfg, b, b, b.rider, serve, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	ctx, b.die = context.WithCancel(ctx)
	running.Go(func() { _ = b.manager.Run(ctx) }) // it ends with ctx
	running.Go(func() {
		for tick := time.Tick(10 * time.Millisecond); ctx.Err() == nil; <-tick {
			b.lease.Store(int64(b.Now().Add(lease)))
			b.manager.Renew(b.LeaseUntil())
		}
	})
	return nil
}

// holds lists what a box holds.
func (b *box) holds() (list []string) {
	b.held.Range(func(a, _ any) bool {
		list = append(list, a.(netip.Addr).String())
		return true
	})
	slices.Sort(list)
	return list
}

// Two nodes share two virtual addresses; one dies, and the other holds both as soon
// as the dead one's lease must be over.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	o := &order{began: time.Now()}
	for id := ring.NodeID(1); id <= 2; id++ {
		o.boxes = append(o.boxes, &box{order: o, me: ring.Member{ID: id, Inc: 1}, rider: table.NewRider()})
	}
	one, two := o.boxes[0], o.boxes[1]
	o.view(1, one, two)
	for _, b := range o.boxes {
		if err := b.start(ctx, &running); err != nil {
			fmt.Println(err)
			return
		}
	}
	pool := table.Pool{Name: "web", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24"), netip.MustParsePrefix("10.0.0.101/24")}}
	if err := one.manager.SetPools(ctx, []table.Pool{pool}); err != nil {
		fmt.Println(err)
		return
	}
	until := func(done func() bool) {
		for end := time.Now().Add(30 * time.Second); !done() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}
	until(func() bool { return len(one.holds()) == 1 && len(two.holds()) == 1 })
	fmt.Println("both live: node 1 holds", len(one.holds()), "and node 2", len(two.holds()))

	two.die()
	left := two.LeaseUntil()
	o.view(2, one)
	until(func() bool { return len(one.holds()) == 2 })
	fmt.Println("node 2 is dead: node 1 holds", one.holds())
	fmt.Println("not before the other's lease was over:", one.Now() > left)
	// Output:
	// both live: node 1 holds 1 and node 2 1
	// node 2 is dead: node 1 holds [10.0.0.100 10.0.0.101]
	// not before the other's lease was over: true
}
