package node

import (
	"net/netip"
	"slices"
	"testing"

	"rain/ring"
)

// A node that has not met the others yet guesses where their pages come from.
func TestAdminsOfStrangers(t *testing.T) {
	d := &directory{nodes: map[ring.NodeID]row{
		1: {Name: "n1", Admin: "http://10.0.0.1:8081", Links: []netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:7400")}},
		2: {Name: "n2", Links: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:7400"), netip.MustParseAddrPort("[fd00::2]:7400")}},
	}}
	want := []string{"http://10.0.0.1:8081", "http://10.0.0.2:8081", "http://[fd00::2]:8081"}
	if got := d.admins(8081); !slices.Equal(got, want) {
		t.Errorf("admins = %q, want %q", got, want)
	}
	d.nodes[2] = row{Name: "n2", Admin: "http://10.1.0.2:9"}
	if got := d.admins(8081); !slices.Equal(got, []string{"http://10.0.0.1:8081", "http://10.1.0.2:9"}) {
		t.Errorf("once it is known: %q", got)
	}
}
