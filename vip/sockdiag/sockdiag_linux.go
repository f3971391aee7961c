package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	diagInfo         = 2  // INET_DIAG_INFO
	requestLen       = 56 // struct inet_diag_req_v2
	messageLen       = 72 // struct inet_diag_msg
	infoLen          = 60 // as much of struct tcp_info as is read
	receiveBuffer    = 64 << 10
)

// Connections lists those to local that are in one of the states.
func Connections(local netip.AddrPort, states ...State) ([]Socket, error) {
	out, err := connections(local, states)
	if err != nil {
		return nil, fmt.Errorf("vip sockdiag: look at connections to %s: %w", local, err)
	}
	return out, nil
}

func connections(local netip.AddrPort, states []State) ([]Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	// The kernel answers in the same call that asks; this is for the case that it does not.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return nil, fmt.Errorf("time-out: %w", err)
	}
	if err := unix.Sendto(fd, request(local, states), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	var out []Socket
	buf := make([]byte, receiveBuffer)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("answer: %w", err)
		}
		var done bool
		if out, done, err = parse(out, buf[:n], local); done || err != nil {
			return out, err
		}
	}
}

func request(local netip.AddrPort, states []State) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+requestLen)
	native := binary.NativeEndian
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], sockDiagByFamily)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	r := b[unix.SizeofNlMsghdr:]
	r[0], r[1], r[2] = unix.AF_INET, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	if local.Addr().Is6() {
		r[0] = unix.AF_INET6
	}
	for _, s := range states {
		native.PutUint32(r[4:], native.Uint32(r[4:])|1<<s)
	}
	binary.BigEndian.PutUint16(r[8:], local.Port())
	return b
}

// parse appends what one datagram of the kernel says about connections to local.
func parse(out []Socket, b []byte, local netip.AddrPort) (_ []Socket, done bool, err error) {
	native := binary.NativeEndian
	for len(b) >= unix.SizeofNlMsghdr {
		size, kind := int(native.Uint32(b)), native.Uint16(b[4:])
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return out, false, fmt.Errorf("a message of %d bytes in %d", size, len(b))
		}
		body := b[unix.SizeofNlMsghdr:size]
		b = b[min(align(size), len(b)):]
		switch kind {
		case unix.NLMSG_DONE:
			return out, true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return out, false, errors.New("an error without a number")
			}
			return out, false, unix.Errno(-int32(native.Uint32(body)))
		case sockDiagByFamily:
			s, at, err := socket(body)
			if err != nil {
				return out, false, err
			}
			if at == local {
				out = append(out, s)
			}
		}
	}
	return out, false, nil
}

func align(n int) int { return (n + 3) &^ 3 }

// socket reads a struct inet_diag_msg and its attributes.
func socket(b []byte) (s Socket, local netip.AddrPort, err error) {
	if len(b) < messageLen {
		return s, local, fmt.Errorf("a connection in %d bytes", len(b))
	}
	native := binary.NativeEndian
	s.State = State(b[1])
	addr := func(p []byte) netip.Addr {
		if b[0] == unix.AF_INET6 {
			return netip.AddrFrom16([16]byte(p)).Unmap()
		}
		return netip.AddrFrom4([4]byte(p[:4]))
	}
	local = netip.AddrPortFrom(addr(b[8:24]), binary.BigEndian.Uint16(b[4:]))
	s.Peer = netip.AddrPortFrom(addr(b[24:40]), binary.BigEndian.Uint16(b[6:]))
	s.RQueue, s.WQueue = native.Uint32(b[56:]), native.Uint32(b[60:])
	for b = b[messageLen:]; len(b) >= 4; {
		size, kind := int(native.Uint16(b)), native.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return s, local, fmt.Errorf("an attribute of %d bytes in %d", size, len(b))
		}
		if v := b[4:size]; kind == diagInfo && len(v) >= infoLen {
			s.Info = s.State != SynRecv
			s.Unacked, s.SinceSent, s.SinceRecv = native.Uint32(v[24:]), native.Uint32(v[44:]), native.Uint32(v[52:])
		}
		b = b[min(align(size), len(b)):]
	}
	return s, local, nil
}
