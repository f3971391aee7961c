package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"rain/vip/table"
)

// retryLook is the pause after a fault of a socket that looks at the network.
const retryLook = 100 * time.Millisecond

// nics knows the interfaces that the node's file names, as they are now, and
// hears who claims which address on them.
type nics struct {
	driver *Driver

	mu      sync.Mutex
	byName  map[string]*watched
	places  map[netip.Addr]place
	changed func()
	closed  bool
}

type watched struct {
	nic
	own  bool   // the node's file names it: without it the node is unfit
	ears []*ear // hear claims
}

// ear is a packet socket that hears claims.
type ear struct {
	conn *packet.Conn
	gone atomic.Bool // closed on purpose
}

// place is where an address goes.
type place struct {
	nic    string
	prefix netip.Prefix
}

func newNICs(d *Driver) *nics {
	return &nics{driver: d, byName: map[string]*watched{}, places: map[netip.Addr]place{}, changed: func() {}}
}

// start looks at the interfaces and goes on looking until ctx ends and close is
// called.
func (s *nics) start(ctx context.Context, wg *sync.WaitGroup) error {
	for _, name := range s.driver.cfg.Interfaces {
		if err := s.add(name, true, wg); err != nil {
			return err
		}
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := s.follow(ctx, wg); err != nil {
				s.driver.log.Warn("the state of interfaces is not followed at this moment; trying again", slog.Any("err", err))
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryLook):
			}
		}
	})
	return nil
}

func (s *nics) add(name string, own bool, wg *sync.WaitGroup) error {
	s.mu.Lock()
	_, known := s.byName[name]
	s.mu.Unlock()
	if known {
		return nil
	}
	n, err := findNIC(name)
	if err != nil {
		return err
	}
	w := &watched{nic: n, own: own}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listen(w, wg); err != nil {
		return err
	}
	s.byName[name] = w
	return nil
}

// follow takes in changes of interfaces, all present ones first.
func (s *nics) follow(ctx context.Context, wg *sync.WaitGroup) error {
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	var fault error // written before updates is closed
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ListExisting:  true,
		ErrorCallback: func(err error) { fault = err },
	})
	if err != nil {
		close(done)
		return fmt.Errorf("vip linux: subscribe to interfaces: %w", err)
	}
	stop := sync.OnceFunc(func() { close(done) })
	defer context.AfterFunc(ctx, stop)()
	defer stop()
	for u := range updates {
		gone := u.Header.Type == unix.RTM_DELLINK
		s.apply(nicOf(u.Link), gone, wg)
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("vip linux: follow interfaces: %w", fault)
}

func (s *nics) apply(n nic, gone bool, wg *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byName[n.name]
	switch {
	case w == nil || s.closed || gone && n.index != w.index:
		return
	case gone:
		n.up = false
	}
	if n.index != w.index || gone {
		s.deafen(w)
	}
	before := w.nic
	w.nic = n
	if len(w.ears) == 0 && !gone {
		if err := s.listen(w, wg); err != nil {
			s.driver.log.Warn("other claims to the addresses are not heard", slog.String("interface", n.name), slog.Any("err", err))
		}
	}
	if before.up != n.up || before.index != n.index {
		s.driver.log.Info("interface changed", slog.String("interface", n.name), slog.Bool("up", n.up))
		s.changed()
	}
}

// unfit names an interface of the node's file that is down.
func (s *nics) unfit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var down []string
	for name, w := range s.byName {
		if w.own && !w.up {
			down = append(down, name)
		}
	}
	if len(down) == 0 {
		return nil
	}
	slices.Sort(down)
	return fmt.Errorf("vip linux: interface %v is down or has no carrier; check the cable and 'ip link'", down)
}

// learn notes where an address goes.
func (s *nics) learn(a table.Address) error {
	name, own := s.driver.cfg.Interfaces[a.Addr()]
	if name == "" {
		name = a.Interface
	}
	if name == "" {
		return fmt.Errorf("vip linux: no interface is named for %s; set interface in its [[vip.pool]]", a.Addr())
	}
	if err := s.add(name, own, &s.driver.wg); err != nil {
		return err
	}
	s.mu.Lock()
	n := s.byName[name].nic
	s.mu.Unlock()
	prefix, err := prefixFor(n, a.Prefix)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places[a.Addr()] = place{name, prefix}
	return nil
}

// place is where an address that was learnt goes now.
func (s *nics) place(addr netip.Addr) (nic, netip.Prefix, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.places[addr]
	w := s.byName[p.nic]
	if !ok || w == nil {
		return nic{}, netip.Prefix{}, fmt.Errorf("vip linux: %s has no interface here", addr)
	}
	if !w.up {
		return nic{}, netip.Prefix{}, fmt.Errorf("vip linux: hold %s: interface %s is down", addr, p.nic)
	}
	return w.nic, p.prefix, nil
}

// onlyAdverts passes IPv6 frames that are neighbour advertisements without
// extension headers.
func onlyAdverts() ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetHeader + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: ethernetHeader + ip6Header, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighborAdvert, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
}

// listen opens an interface's ears. The caller has the lock.
func (s *nics) listen(w *watched, wg *sync.WaitGroup) error {
	if s.closed {
		return ErrClosed
	}
	adverts, err := onlyAdverts()
	if err != nil {
		return fmt.Errorf("vip linux: filter: %w", err)
	}
	ifi := &net.Interface{Index: w.index, Name: w.name}
	for proto, filter := range map[int][]bpf.RawInstruction{unix.ETH_P_ARP: nil, unix.ETH_P_IPV6: adverts} {
		c, err := packet.Listen(ifi, packet.Raw, proto, &packet.Config{Filter: filter})
		if err != nil {
			s.deafen(w)
			if errors.Is(err, unix.EPERM) {
				return ErrCapability
			}
			return fmt.Errorf("vip linux: listen to ARP on %s: %w", w.name, err)
		}
		e := &ear{conn: c}
		w.ears = append(w.ears, e)
		own := slices.Clone(w.mac)
		wg.Go(func() { s.hear(e, own) })
	}
	return nil
}

// deafen ends an interface's ears. The caller has the lock.
func (s *nics) deafen(w *watched) {
	for _, e := range w.ears {
		e.gone.Store(true)
		_ = e.conn.Close() // ends its hear
	}
	w.ears = nil
}

// hear passes claims of others on until e is gone.
func (s *nics) hear(e *ear, own net.HardwareAddr) {
	buf := make([]byte, 2048)
	for {
		n, _, err := e.conn.ReadFrom(buf)
		if e.gone.Load() {
			return
		}
		if err != nil { // the interface went down; it may come back
			time.Sleep(retryLook)
			continue
		}
		addr, mac, ok := claimant(buf[:n])
		if !ok || slices.Equal(mac, own) {
			continue
		}
		s.driver.claimed(addr, slices.Clone(mac))
	}
}

func (s *nics) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, w := range s.byName {
		s.deafen(w)
	}
}
