//go:build !linux

package transport

import (
	"net"
	"net/netip"
)

// reader receives from one socket.
type reader struct{ conn *net.UDPConn }

func newReader(conn *net.UDPConn) (*reader, error) { return &reader{conn}, nil }

func (r *reader) receive(b []byte) (int, netip.AddrPort, error) {
	return r.conn.ReadFromUDPAddrPort(b)
}
