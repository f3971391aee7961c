package transport

import (
	"net"
	"net/netip"
	"testing"
)

// TestSocketsOfBothFamilies sends through the own writer and reads through the
// own reader: bytes and addresses must be those that package net sees.
func TestSocketsOfBothFamilies(t *testing.T) {
	for _, c := range []struct{ network, host string }{{"udp4", "127.0.0.1"}, {"udp6", "::1"}, {"udp", "::"}} {
		t.Run(c.network+" "+c.host, func(t *testing.T) {
			open := func() (*net.UDPConn, netip.AddrPort) {
				conn, err := net.ListenUDP(c.network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.host), 0)))
				if err != nil {
					t.Skipf("no %s here: %v", c.network, err)
				}
				t.Cleanup(func() { conn.Close() })
				at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
				if at.Addr().IsUnspecified() { // takes IPv4 as well
					at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())
				}
				return conn, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
			}
			a, from := open()
			b, to := open()
			w, err := newWriter(a, c.network == "udp4")
			if err != nil {
				t.Fatal(err)
			}
			r, err := newReader(b)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 2000)
			for _, text := range []string{"drop", "", string(make([]byte, 1472))} {
				if err := w.send([]byte(text), to); err != nil {
					t.Fatal(err)
				}
				n, src, err := r.receive(buf)
				if src = netip.AddrPortFrom(src.Addr().Unmap(), src.Port()); err != nil || string(buf[:n]) != text || src != from {
					t.Errorf("received %d bytes from %s, %v; want %d from %s", n, src, err, len(text), from)
				}
			}
			b.Close()
			if _, _, err := r.receive(buf); err == nil {
				t.Error("a closed socket received")
			}
		})
	}
}
