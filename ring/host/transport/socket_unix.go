//go:build unix && !linux

package transport

import (
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// writer sends without ever waiting: where net.UDPConn would wait for room in a
// device that takes nothing, the datagram is dropped, and the other links go on.
type writer struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	ip4   bool
	sa4   unix.SockaddrInet4
	sa6   unix.SockaddrInet6
	b     []byte
	err   error
	write func(fd uintptr) bool // made once: no garbage for each datagram
}

func newWriter(conn *net.UDPConn, ip4 bool) (*writer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, raw: raw, ip4: ip4}
	w.write = func(fd uintptr) bool {
		var to unix.Sockaddr = &w.sa6
		if w.ip4 {
			to = &w.sa4
		}
		for {
			if w.err = unix.Sendto(int(fd), w.b, unix.MSG_DONTWAIT, to); w.err != unix.EINTR {
				return true
			}
		}
	}
	return w, nil
}

// send is not safe for concurrent use.
func (w *writer) send(b []byte, to netip.AddrPort) error {
	if to.Addr().Zone() != "" { // rare, and the zone's number is to be looked up
		_, err := w.conn.WriteToUDPAddrPort(b, to)
		return err
	}
	if w.ip4 {
		w.sa4 = unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		w.sa6 = unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	w.b = b
	if err := w.raw.Write(w.write); err != nil {
		return err
	}
	return w.err
}
