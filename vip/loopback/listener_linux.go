package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"rain/vip/guard"
)

// listener is a guarded socket. After its end, whoever brought it about, Accept
// says net.ErrClosed.
type listener struct {
	*net.TCPListener
	guard *guard.Guard
	id    uint32
	once  sync.Once
}

// newListener binds here and lets the guard listen: see guard.
func newListener(ctx context.Context, g *guard.Guard, at netip.AddrPort) (*listener, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("vip loopback: socket for %s: %w", at, err)
	}
	f := os.NewFile(uintptr(fd), at.String())
	defer f.Close() // FileListener has its own
	for _, opt := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 1); err != nil {
			return nil, fmt.Errorf("vip loopback: options of %s: %w", at, err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
		return nil, fmt.Errorf("vip loopback: bind %s: %w", at, err)
	}
	id, err := g.Listen(ctx, fd, backlog)
	if err != nil {
		return nil, fmt.Errorf("vip loopback: listen on %s: %w", at, err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		_ = g.Shut(id)
		return nil, fmt.Errorf("vip loopback: listen on %s: %w", at, err)
	}
	return &listener{TCPListener: ln.(*net.TCPListener), guard: g, id: id}, nil
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if errors.Is(err, unix.EINVAL) { // not in LISTEN any more: the guard was here
		return nil, net.ErrClosed
	}
	return c, err
}

// Close stops listening, at once and for the guard's share of the socket too.
func (l *listener) Close() error {
	l.shut()
	return nil
}

func (l *listener) shut() {
	l.once.Do(func() {
		// shutdown first: close alone would leave the guard's share listening.
		_ = l.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
		_ = l.TCPListener.Close()
	})
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

// steer makes the kernel choose the socket of this number in the group for
// every new connection. Without a socket of that number it chooses any.
func (l *listener) steer(number uint32) error {
	prog := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: number}}
	err := l.control(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &prog[0]})
	})
	if err != nil {
		return fmt.Errorf("vip loopback: steer connections of %s: %w", l.Addr(), err)
	}
	return nil
}

// queued is the number of connections that wait for Accept.
func (l *listener) queued() (n uint32, err error) {
	err = l.control(func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		if info.State != tcpListen {
			return fmt.Errorf("not listening any more: %w", net.ErrClosed)
		}
		n = info.Unacked // of a listener: its accept queue
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("vip loopback: queue of %s: %w", l.Addr(), err)
	}
	return n, nil
}

const tcpListen = 10 // TCP_LISTEN of the kernel's tcp_states.h

var _ syscall.Conn = (*listener)(nil)
