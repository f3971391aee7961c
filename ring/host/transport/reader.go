//go:build !linux

package transport

import "net/netip"

// reader receives from one socket.
type reader struct{ conn *endpoint }

func newReader(conn *endpoint) (*reader, error) { return &reader{conn}, nil }

// close is for the socket to do.
func (r *reader) close() {}

func (r *reader) receive(b []byte) (int, netip.AddrPort, error) {
	return r.conn.ReadFromUDPAddrPort(b)
}
