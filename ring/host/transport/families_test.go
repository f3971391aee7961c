package transport

import (
	"net"
	"net/netip"
	"testing"

	"rain/ring"
	"rain/ring/host/seal"
	"rain/ring/rudp"
)

// Links of both families: each leads to the addresses of its own.
func TestBothFamilies(t *testing.T) {
	if l, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here: " + err.Error())
	} else {
		l.Close()
	}
	cfg := testConfig(1)
	cfg.Links = append(cfg.Links, Link{Name: "six", Listen: netip.MustParseAddrPort("[::1]:0")})
	a, b := pairUp(t, cfg)
	a.until("both paths up", func() bool { return up(a, m2.ID) == 2 && up(b, m1.ID) == 2 })
	if n := len(a.Stats().Paths); n != 2 {
		t.Errorf("%d paths, want one for each family", n)
	}
	for i, l := range []string{"a", "six"} {
		a.SetFault(m2.ID, l, Fault{CutIn: true, CutOut: true})
		ref := uint64(i + 1)
		a.Send(m2, make([]byte, 100_000), ref)
		if !a.verdict(ref) {
			t.Errorf("link %s is cut, and a message failed over the other family", l)
		}
		a.ClearFaults()
		a.until("both paths up", func() bool { return up(a, m2.ID) == 2 && up(b, m1.ID) == 2 })
	}
}

// The largest datagram, a relayed one, fits the smallest packet that all of IPv6
// must carry.
func TestLargestDatagramFits(t *testing.T) {
	const least, ip6, udp = 1280, 40, 8
	if n := DefaultConfig().Payload + rudp.Overhead + 2*seal.Overhead + relayMin; n > least-ip6-udp {
		t.Errorf("%d bytes, at most %d pass wherever IPv6 does", n, least-ip6-udp)
	}
	rows := make([]row, maxTable)
	for i := range rows {
		rows[i].id = ring.NodeID(i + 1)
	}
	if n := len(appendTable(nil, 1, rows)) + seal.Overhead; n > least-ip6-udp {
		t.Errorf("a table of %d bytes, at most %d pass wherever IPv6 does", n, least-ip6-udp)
	}
}
