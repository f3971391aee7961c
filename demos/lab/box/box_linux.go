package box

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"rain/demos/lab/plan"
)

// Box is one host. Its methods may be called from any goroutine.
type Box struct {
	Name string
	Taps []*Tap

	calls chan func()
	ended sync.WaitGroup
	ns    *os.File
}

// Tap is one interface: what the host sends is read, what is written it gets. It
// is not known to the runtime's poller: who reads many of them polls himself.
type Tap struct {
	FD   int // non-blocking
	Port plan.Port
}

// Read takes a frame that the host sent; unix.EAGAIN: there is none.
func (t *Tap) Read(b []byte) (int, error) { return unix.Read(t.FD, b) }

// Write gives the host a frame.
func (t *Tap) Write(b []byte) (int, error) { return unix.Write(t.FD, b) }

// New makes a host with its interfaces up and addressed.
func New(h *plan.Host) (*Box, error) {
	b := &Box{Name: h.Name, calls: make(chan func())}
	ready := make(chan error)
	b.ended.Go(func() { b.live(h, ready) })
	if err := <-ready; err != nil {
		b.Close()
		return nil, fmt.Errorf("box: host %s: %w", h.Name, err)
	}
	return b, nil
}

// live owns the thread that is in the namespace. The thread is never given back
// to the runtime: it ends with the host.
func (b *Box) live(h *plan.Host, ready chan<- error) {
	runtime.LockOSThread()
	ready <- b.furnish(h)
	for f := range b.calls {
		f()
	}
}

func (b *Box) furnish(h *plan.Host) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("a network namespace (are you root?): %w", err)
	}
	var err error
	if b.ns, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
		return err
	}
	if err := manners("all", "default"); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for i, port := range h.Ports {
		t, err := newTap(port, i)
		if err != nil {
			return fmt.Errorf("%s: %w", port.Device, err)
		}
		b.Taps = append(b.Taps, t)
	}
	return nil
}

// manners makes a host with several interfaces in one segment behave: it
// answers for an address only where it has it, and does not use a dead plug.
func manners(devices ...string) error {
	for _, d := range devices {
		for _, set := range [][2]string{
			{"ipv4/conf/" + d + "/arp_ignore", "1"}, {"ipv4/conf/" + d + "/arp_announce", "2"},
			{"ipv4/conf/" + d + "/rp_filter", "0"}, {"ipv4/conf/" + d + "/ignore_routes_with_linkdown", "1"},
			{"ipv6/conf/" + d + "/accept_dad", "0"}, {"ipv6/conf/" + d + "/accept_ra", "0"},
		} {
			err := os.WriteFile(filepath.Join("/proc/sys/net", set[0]), []byte(set[1]), 0)
			if err != nil && !(errors.Is(err, os.ErrNotExist) && set[0][:4] == "ipv6") {
				return err // a kernel without IPv6 is fine
			}
		}
	}
	return nil
}

func newTap(port plan.Port, i int) (*Tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(port.Device)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, errors.Join(fmt.Errorf("TUNSETIFF: %w", err), unix.Close(fd))
	}
	t := &Tap{FD: fd, Port: port}
	if err := address(port, i); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return t, nil
}

// address gives the device its addresses, and what comes from them the device:
// a table of routes of its own.
func address(port plan.Port, i int) error {
	l, err := netlink.LinkByName(port.Device)
	if err != nil {
		return err
	}
	if err := manners(port.Device); err != nil {
		return err
	}
	if err := netlink.LinkSetHardwareAddr(l, net.HardwareAddr(port.MAC[:])); err != nil {
		return fmt.Errorf("hardware address: %w", err)
	}
	// A short queue in the device, so that the host's own queue with its bands
	// decides who goes first, as with a real card.
	if err := netlink.LinkSetTxQLen(l, tapQueue); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if err := netlink.LinkSetMTU(l, port.MTU); err != nil {
		return fmt.Errorf("mtu: %w", err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	for _, p := range []struct {
		addr   net.IP
		bits   int
		of     int
		family int
	}{
		{port.IPv4.Addr().AsSlice(), port.IPv4.Bits(), 32, netlink.FAMILY_V4},
		{port.IPv6.Addr().AsSlice(), port.IPv6.Bits(), 128, netlink.FAMILY_V6},
	} {
		whole := &net.IPNet{IP: p.addr, Mask: net.CIDRMask(p.bits, p.of)}
		a := &netlink.Addr{IPNet: whole}
		if p.family == netlink.FAMILY_V6 {
			a.Flags = unix.IFA_F_NODAD
		}
		err := netlink.AddrAdd(l, a)
		if errors.Is(err, unix.EOPNOTSUPP) && p.family == netlink.FAMILY_V6 {
			continue
		}
		if err != nil {
			return fmt.Errorf("address %v: %w", whole, err)
		}
		table := 100 + i
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: p.addr.Mask(whole.Mask), Mask: whole.Mask}, Table: table, Scope: netlink.SCOPE_LINK}
		if p.family == netlink.FAMILY_V6 {
			route.Scope = netlink.SCOPE_UNIVERSE
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("route of %v: %w", whole, err)
		}
		rule := netlink.NewRule()
		rule.Family, rule.Table, rule.Priority = p.family, table, table
		rule.Src = &net.IPNet{IP: p.addr, Mask: net.CIDRMask(p.of, p.of)}
		if err := netlink.RuleAdd(rule); err != nil {
			return fmt.Errorf("rule for %v: %w", whole, err)
		}
	}
	return nil
}

// Carrier pulls the plug of the host's interface, or puts it in.
func (t *Tap) Carrier(on bool) error {
	v := 0
	if on {
		v = 1
	}
	if err := unix.IoctlSetPointerInt(t.FD, tunSetCarrier, v); err != nil {
		return fmt.Errorf("box: %s: carrier: %w", t.Port.Name, err)
	}
	return nil
}

// tapQueue is how many frames wait in a device.
const tapQueue = 64

const tunSetCarrier = 0x400454e2 // TUNSETCARRIER, _IOW('T', 226, int)

// Do runs f on the thread that is in the host.
func (b *Box) Do(f func() error) error {
	done := make(chan error)
	b.calls <- func() { done <- f() }
	return <-done
}

// Namespace is the host's network namespace. It stays the Box's.
func (b *Box) Namespace() *os.File { return b.ns }

// Close ends the host and all processes that were started in it.
func (b *Box) Close() {
	close(b.calls)
	b.ended.Wait()
	for _, t := range b.Taps {
		_ = unix.Close(t.FD) // nothing is left to be lost
	}
	if b.ns != nil {
		_ = b.ns.Close()
	}
}
