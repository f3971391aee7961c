package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rain/vip/guard"
)

const backlog = 4096

// listener is a guarded socket on an address that may not be there (yet). After
// its end, whoever brought it about, Accept says net.ErrClosed.
type listener struct {
	*net.TCPListener
	driver *Driver
	addr   netip.Addr
	guard  *guard.Guard
	socket uint32 // the guard's number of it
	once   sync.Once

	mu           sync.Mutex
	claim        uint32 // the guard's number of the held address; 0: not held
	nic          int    // index of the interface that it is on
	contradicted time.Time
	closed       bool
}

func socketFor(at netip.AddrPort) (f *os.File, fd int, err error) {
	family, freebind, level := unix.AF_INET, unix.IP_FREEBIND, unix.SOL_IP
	if at.Addr().Is6() {
		family, freebind, level = unix.AF_INET6, unix.IPV6_FREEBIND, unix.SOL_IPV6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, 0, fmt.Errorf("vip linux: socket for %s: %w", at, err)
	}
	f = os.NewFile(uintptr(fd), at.String())
	opts := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {level, freebind}}
	if at.Addr().Is6() {
		opts = append(opts, [2]int{unix.SOL_IPV6, unix.IPV6_V6ONLY})
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, o[0], o[1], 1); err != nil {
			f.Close()
			return nil, 0, fmt.Errorf("vip linux: options of %s: %w", at, err)
		}
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Addr: to4(at.Addr()), Port: int(at.Port())}
	if at.Addr().Is6() {
		sa = &unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())}
	}
	if err := unix.Bind(fd, sa); err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("vip linux: bind %s: %w", at, err)
	}
	return f, fd, nil
}

func to4(a netip.Addr) [4]byte {
	if a.Is4() {
		return a.As4()
	}
	return [4]byte{}
}

// newListener binds here and lets the guard listen: see guard.
func newListener(ctx context.Context, d *Driver, g *guard.Guard, at netip.AddrPort) (*listener, error) {
	f, fd, err := socketFor(at)
	if err != nil {
		return nil, err
	}
	defer f.Close() // FileListener has its own
	id, err := g.Listen(ctx, fd, backlog)
	if err != nil {
		return nil, fmt.Errorf("vip linux: listen on %s: %w", at, err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		_ = g.Shut(id)
		return nil, fmt.Errorf("vip linux: listen on %s: %w", at, err)
	}
	return &listener{TCPListener: ln.(*net.TCPListener), driver: d, addr: at.Addr(), guard: g, socket: id}, nil
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if errors.Is(err, unix.EINVAL) { // not in LISTEN any more: the guard was here
		return nil, net.ErrClosed
	}
	return c, err
}

// Close takes the address off and stops listening. When it returns this machine
// answers no more.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.driver.vacate(l)
		// shutdown first: close alone would leave the guard's share listening.
		_ = l.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
		_ = l.TCPListener.Close()
		_ = l.guard.Shut(l.socket) // if the guard is gone, so is its socket
	})
	return nil
}

func (l *listener) control(f func(fd int) error) error {
	rc, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
