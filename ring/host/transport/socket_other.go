//go:build !unix

package transport

import (
	"net"
	"net/netip"
)

// writer sends; on these systems a UDP socket takes what it is given.
type writer struct{ conn *net.UDPConn }

func newWriter(conn *net.UDPConn, _ bool) (*writer, error) { return &writer{conn}, nil }

func (w *writer) send(b []byte, to netip.AddrPort) error {
	_, err := w.conn.WriteToUDPAddrPort(b, to)
	return err
}
