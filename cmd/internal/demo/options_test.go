package demo

import (
	"net/netip"
	"testing"

	"rain/cmd/internal/cli"
)

func TestOptions(t *testing.T) {
	for _, set := range []func(*Options){
		func(o *Options) { o.Nodes = 0 }, func(o *Options) { o.Nodes = 17 }, func(o *Options) { o.VIPs = -1 },
		func(o *Options) { o.Port = 0 }, func(o *Options) { o.AdminPort = o.Port }, func(o *Options) { o.RunFor = -1 },
	} {
		o := Default()
		set(&o)
		if err := o.Validate(); cli.Classify(err) == nil || cli.Classify(err).Exit != cli.Usage {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

// Where only 127.0.0.1 exists no two listeners meet.
func TestConsecutivePorts(t *testing.T) {
	o := Default()
	o.Nodes = MaxNodes
	n := plan(o, false)
	seen := map[netip.AddrPort]bool{}
	for _, a := range n.nodes {
		for _, ap := range []netip.AddrPort{a.web, a.admin, a.lnk} {
			if seen[ap] || ap.Addr().String() != "127.0.0.1" {
				t.Errorf("%s twice, or elsewhere", ap)
			}
			seen[ap] = true
		}
	}
	if seen[n.control] || len(seen) != 3*MaxNodes || len(n.vips) != 0 {
		t.Errorf("control %s, %d addresses, VIPs %v", n.control, len(seen), n.vips)
	}
}
