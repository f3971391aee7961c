package transport

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of this file never wait, and are raw for that reason: others
// tell Go's scheduler, which wakes its monitor thread. For an idle node that is
// more work than the datagram itself.

// name is a socket address of either family, as the kernel has it.
type name struct {
	raw  unix.RawSockaddrInet6 // the larger of the two
	size uint32
}

func (n *name) v4() *unix.RawSockaddrInet4 {
	return (*unix.RawSockaddrInet4)(unsafe.Pointer(&n.raw))
}

// port in the byte order of the net.
func (n *name) port() []byte { return (*[2]byte)(unsafe.Pointer(&n.raw.Port))[:] }

func (n *name) set(to netip.AddrPort, ip4 bool) {
	binary.BigEndian.PutUint16(n.port(), to.Port()) // at the same place in both
	if ip4 {
		n.raw.Family, n.v4().Addr, n.size = unix.AF_INET, to.Addr().As4(), unix.SizeofSockaddrInet4
		return
	}
	n.raw.Family, n.raw.Addr, n.size = unix.AF_INET6, to.Addr().As16(), unix.SizeofSockaddrInet6
}

// writer sends without ever waiting: where net.UDPConn would wait for room in a
// device that takes nothing, the datagram is dropped, and the other links go on.
type writer struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	ip4   bool
	to    name
	b     []byte
	errno syscall.Errno
	write func(fd uintptr) bool // made once: no garbage for each datagram
}

func newWriter(conn *net.UDPConn, ip4 bool) (*writer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := hurry(raw, ip4); err != nil {
		return nil, err
	}
	w := &writer{conn: conn, raw: raw, ip4: ip4}
	w.write = func(fd uintptr) bool {
		for {
			_, _, w.errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(w.b))), uintptr(len(w.b)),
				unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&w.to.raw)), uintptr(w.to.size))
			if w.errno != unix.EINTR {
				return true
			}
		}
	}
	return w, nil
}

// hurry has a socket's datagrams overtake bulk in the queues of this host
// (interactive priority) and of switches that look at it (DSCP EF): a token that
// waits behind symbols looks like a dead node.
func hurry(raw syscall.RawConn, ip4 bool) error {
	const interactive, expedited = 6, 46 << 2
	var err error
	if e := raw.Control(func(fd uintptr) {
		// The field first: it sets the priority as well. Not every kernel lets
		// everybody choose it, and the ring runs without.
		if ip4 {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, expedited)
		} else {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, expedited)
		}
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, interactive)
	}); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("priority of the socket: %w", err)
	}
	return nil
}

// send is not safe for concurrent use.
func (w *writer) send(b []byte, to netip.AddrPort) error {
	if to.Addr().Zone() != "" { // rare, and the zone's number is to be looked up
		_, err := w.conn.WriteToUDPAddrPort(b, to)
		return err
	}
	w.to.set(to, w.ip4)
	w.b = b
	if err := w.raw.Write(w.write); err != nil {
		return err
	}
	if w.errno != 0 {
		return w.errno
	}
	return nil
}

// reader receives from one socket, in one goroutine.
type reader struct {
	raw   syscall.RawConn
	from  name
	b     []byte
	n     int
	errno syscall.Errno
	read  func(fd uintptr) bool

	handed atomic.Bool // a pump reads in its stead
	flood  flood       // as that sees it

	zone    string // of scope, the last one that was looked up
	zoneFor uint32
}

func newReader(conn *net.UDPConn) (*reader, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &reader{raw: raw}
	r.read = func(fd uintptr) bool {
		for !r.handed.Load() {
			r.from.size = uint32(unsafe.Sizeof(r.from.raw))
			n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(r.b))), uintptr(len(r.b)),
				unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&r.from.raw)), uintptr(unsafe.Pointer(&r.from.size)))
			r.n, r.errno = int(n), errno
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
		return false
	}
	return r, nil
}

// receive waits for a datagram.
func (r *reader) receive(b []byte) (int, netip.AddrPort, error) {
	r.b = b
	if err := r.raw.Read(r.read); err != nil {
		return 0, netip.AddrPort{}, err
	}
	if r.errno != 0 {
		return 0, netip.AddrPort{}, r.errno
	}
	return r.n, r.source(), nil
}

// source is whom the last datagram was from.
func (r *reader) source() netip.AddrPort {
	port := binary.BigEndian.Uint16(r.from.port())
	switch r.from.raw.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4(r.from.v4().Addr), port)
	case unix.AF_INET6:
		addr := netip.AddrFrom16(r.from.raw.Addr)
		if id := r.from.raw.Scope_id; id != 0 {
			addr = addr.WithZone(r.zoneName(id))
		}
		return netip.AddrPortFrom(addr, port)
	}
	return netip.AddrPort{}
}

func (r *reader) zoneName(id uint32) string {
	if r.zoneFor != id {
		r.zoneFor, r.zone = id, strconv.Itoa(int(id))
		if i, err := net.InterfaceByIndex(int(id)); err == nil {
			r.zone = i.Name
		}
	}
	return r.zone
}
