package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	renewEvery = Validity / 3
	// One announcement may be lost, and a neighbour may refuse it in the first
	// second after it learnt another (ARP locktime): say it early and often.
	firstAgain    = 10 * time.Millisecond
	secondAgain   = 30 * time.Millisecond
	announceEvery = 100 * time.Millisecond
	announceFor   = 2 * time.Second
	// For who was out of reach all that time.
	refreshEvery = 10 * time.Second
)

// network is what addresses need; opened before they do.
type network struct {
	routes *netlink.Handle
	frames int // an AF_PACKET socket that receives nothing
}

func openNetwork() (*network, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	if err := h.SetSocketTimeout(time.Second); err != nil {
		h.Close()
		_ = unix.Close(fd)
		return nil, err
	}
	return &network{routes: h, frames: fd}, nil
}

// claim is an address that is held.
type claim struct {
	Address
	link  netlink.Link
	addr  *netlink.Addr
	since int64 // when it was announced the first time
	renew int64 // when the kernel must be told again
	again int64 // when the next announcement is due
}

// address does what a message about addresses asks. An error ends the guard.
func (w *watch) address(b []byte) error {
	id := binary.BigEndian.Uint32(b[1:])
	switch kind, body := b[0], b[5:]; {
	case kind == msgOpen && len(body) == 0:
		var err error
		if w.net == nil {
			w.net, err = openNetwork()
		}
		w.answer(id, errnoOf(err))
	case kind == msgHold:
		a, err := parseHold(body)
		if err != nil {
			return err
		}
		w.answer(id, w.hold(id, a))
	case kind == msgDrop && len(body) == 4:
		w.answer(id, errnoOf(w.withdraw(binary.BigEndian.Uint32(body))))
	case kind == msgAnnounce && len(body) == 0:
		if c := w.claims[id]; c != nil {
			c.since = now()
			c.again = c.since
		}
	default:
		return fmt.Errorf("unknown message from the node: kind %d, %d bytes; are both of one version?", kind, len(b))
	}
	return nil
}

// parseHold keeps nothing of b.
func parseHold(b []byte) (Address, error) {
	bad := fmt.Errorf("malformed hold of %d bytes from the node", len(b))
	if len(b) < 6 {
		return Address{}, bad
	}
	a := Address{Interface: int(binary.BigEndian.Uint32(b))}
	bits, n := int(b[4]), int(b[5])
	b = b[6:]
	if n != 4 && n != 16 || len(b) < n+1 || bits > 8*n || a.Interface == 0 {
		return Address{}, bad
	}
	addr, _ := netip.AddrFromSlice(b[:n])
	a.Prefix = netip.PrefixFrom(addr, bits)
	count := int(b[n])
	b = b[n+1:]
	if count > MaxFrames {
		return Address{}, bad
	}
	for range count {
		if len(b) < 1 || int(b[0]) > MaxFrame || len(b) < 1+int(b[0]) {
			return Address{}, bad
		}
		a.Frames = append(a.Frames, append([]byte(nil), b[1:1+int(b[0])]...))
		b = b[1+int(b[0]):]
	}
	if len(b) != 0 {
		return Address{}, bad
	}
	return a, nil
}

// hold is done here and not by the node, as listen is.
func (w *watch) hold(id uint32, a Address) unix.Errno {
	if w.net == nil || len(w.claims) >= maxHeld {
		return unix.EINVAL
	}
	ip := net.IPNet{IP: a.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(a.Prefix.Bits(), a.Prefix.Addr().BitLen())}
	c := &claim{
		Address: a,
		link:    &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: a.Interface}},
		// Preferred for 0 s: never a source address of this machine's own
		// connections. No duplicate address detection: it takes a second, and who
		// may hold the address the ring has decided.
		addr: &netlink.Addr{IPNet: &ip, ValidLft: int(Validity / time.Second), PreferedLft: 0},
	}
	if a.Prefix.Addr().Is6() {
		c.addr.Flags = unix.IFA_F_NODAD
	}
	if a.Prefix.IsSingleIP() {
		c.addr.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	var before *claim
	for other, o := range w.claims {
		if o.Prefix.Addr() == a.Prefix.Addr() { // a move, or a node that lost count; the older one must not take it off later
			delete(w.claims, other)
			before = o
		}
	}
	t := now()
	if t >= w.until.Load() {
		return unix.ETIME
	}
	err := w.net.routes.AddrReplace(c.link, c.addr)
	if before != nil && (err != nil || before.Interface != a.Interface) {
		// It is on the new one first, so its connections go on. If this fails the
		// kernel forgets it there after Validity.
		_ = w.net.routes.AddrDel(before.link, before.addr)
	}
	if err != nil {
		return errnoOf(err)
	}
	w.claims[id] = c
	c.renew, c.since, c.again = t+int64(renewEvery), t, t
	w.announce(c, t)
	return 0
}

// tend renews and announces what is due and says when it is next. Only while
// the lease runs.
func (w *watch) tend() (next int64) {
	next = 1<<63 - 1
	for _, c := range w.claims {
		t := now()
		if t >= c.renew && t < w.until.Load() {
			// A fault here (the interface is gone) is seen by the node.
			_ = w.net.routes.AddrReplace(c.link, c.addr)
			c.renew = t + int64(renewEvery)
		}
		if t >= c.again && t < w.until.Load() {
			w.announce(c, t)
		}
		next = min(next, c.renew, c.again)
	}
	return next
}

// announce sends the frames and sets when they are sent again.
func (w *watch) announce(c *claim, t int64) {
	to := &unix.SockaddrLinklayer{Ifindex: c.Interface}
	for _, f := range c.Frames {
		_ = unix.Sendto(w.net.frames, f, unix.MSG_DONTWAIT, to) // what is lost is repeated
	}
	wait := announceEvery
	switch gone := time.Duration(t - c.since); {
	case gone >= announceFor:
		wait = refreshEvery
	case gone < firstAgain:
		wait = firstAgain - gone
	case gone < secondAgain:
		wait = secondAgain - gone
	}
	c.again = t + int64(wait)
}

// withdraw takes an address off its interface. That it is gone is no error.
func (w *watch) withdraw(id uint32) error {
	c := w.claims[id]
	if c == nil {
		return nil
	}
	delete(w.claims, id)
	err := w.net.routes.AddrDel(c.link, c.addr)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// errnoOf is what can be told to the node.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	}
	return unix.EIO
}
