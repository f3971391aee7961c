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
	ears []*ear // hear claims
}

// ear is a packet socket that hears claims.
type ear struct {
	conn *packet.Conn
	gone atomic.Bool // closed on purpose
}

// place is where an address may go.
type place struct {
	nics []seat // in the order of preference
	on   string // the one it was put on last
}

// seat is an interface, and the length with which the address is put on it.
type seat struct {
	nic    string
	prefix netip.Prefix
}

func newNICs(d *Driver) *nics {
	return &nics{driver: d, byName: map[string]*watched{}, places: map[netip.Addr]place{}, changed: func() {}}
}

// start looks at the interfaces and goes on looking until ctx ends and close is
// called.
func (s *nics) start(ctx context.Context, wg *sync.WaitGroup) error {
	for _, list := range s.driver.cfg.Interfaces {
		for _, name := range names(list) {
			if err := s.add(name, wg); err != nil {
				return err
			}
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

func (s *nics) add(name string, wg *sync.WaitGroup) error {
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
	w := &watched{nic: n}
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
		if s.apply(nicOf(u.Link), gone, wg) {
			s.driver.reseat()
			s.mu.Lock()
			changed := s.changed
			s.mu.Unlock()
			changed()
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("vip linux: follow interfaces: %w", fault)
}

// apply notes how an interface is now, and reports whether it can be used where
// it could not before, or the other way.
func (s *nics) apply(n nic, gone bool, wg *sync.WaitGroup) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byName[n.name]
	switch {
	case w == nil || s.closed || gone && n.index != w.index:
		return false
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
	if before.up == n.up && before.index == n.index {
		return false
	}
	s.driver.log.Info("interface changed", slog.String("interface", n.name), slog.Bool("up", n.up))
	return true
}

// unfit names the interfaces of the node's file that are down, if an address has
// no other.
func (s *nics) unfit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var down []string
	for _, list := range s.driver.cfg.Interfaces {
		works := func(name string) bool { return s.byName[name] != nil && s.byName[name].up }
		if all := names(list); !slices.ContainsFunc(all, works) {
			down = append(down, all...)
		}
	}
	if len(down) == 0 {
		return nil
	}
	slices.Sort(down)
	return fmt.Errorf("vip linux: interface %v is down or has no carrier; check the cable and 'ip link'", slices.Compact(down))
}

// mine reports whether a hardware address is one of this node's interfaces: with
// two in one segment, each hears what the other says.
func (s *nics) mine(mac net.HardwareAddr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.byName {
		if slices.Equal(w.mac, mac) {
			return true
		}
	}
	return false
}

// learn notes where an address may go.
func (s *nics) learn(a table.Address) error {
	list := s.driver.cfg.Interfaces[a.Addr()]
	if list == "" {
		list = a.Interface
	}
	if len(names(list)) == 0 {
		return fmt.Errorf("vip linux: no interface is named for %s; set interface in its [[vip.pool]]", a.Addr())
	}
	var p place
	for _, name := range names(list) {
		if err := s.add(name, &s.driver.wg); err != nil {
			return err
		}
		s.mu.Lock()
		n := s.byName[name].nic
		s.mu.Unlock()
		prefix, err := prefixFor(n, a.Prefix)
		if err != nil {
			return err
		}
		p.nics = append(p.nics, seat{name, prefix})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.on = s.places[a.Addr()].on
	s.places[a.Addr()] = p
	return nil
}

// place is where an address that was learnt goes now: it stays where it is while
// that works, else it goes to the first interface that does.
func (s *nics) place(addr netip.Addr) (nic, netip.Prefix, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at *seat
	p := s.places[addr]
	for i := range p.nics {
		w := s.byName[p.nics[i].nic]
		if w != nil && w.up && (at == nil || w.name == p.on) {
			at = &p.nics[i]
		}
	}
	switch {
	case len(p.nics) == 0:
		return nic{}, netip.Prefix{}, fmt.Errorf("vip linux: %s has no interface here", addr)
	case at == nil:
		return nic{}, netip.Prefix{}, fmt.Errorf("vip linux: hold %s: interface %s is down", addr, p.nics[0].nic)
	}
	return s.byName[at.nic].nic, at.prefix, nil
}

// sits notes where an address was put.
func (s *nics) sits(addr netip.Addr, on string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.places[addr]; ok {
		p.on = on
		s.places[addr] = p
	}
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
		wg.Go(func() { s.hear(e) })
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
func (s *nics) hear(e *ear) {
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
		if !ok || s.mine(mac) {
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
