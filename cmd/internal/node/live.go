package node

import (
	"net/netip"
	"os"
	"slices"
	"time"

	"rain/assets"
	"rain/cmd/internal/cli"
	"rain/snow/admin"
)

// controlEnv tells a node the control address of the demo that started it, for
// the page alone: from there it starts and thaws nodes.
const controlEnv = "RAIN_DEMO_CONTROL"

// livePage gives the admin address what its page needs. The control address is
// told to pages only where faults are allowed.
func (n *node) livePage(cfg *admin.Config, deps *admin.Deps) {
	cfg.Version = cli.BuildVersion("rain").Version
	if n.file.Fault.Allow {
		cfg.Control = os.Getenv(controlEnv)
	}
	deps.Live, deps.UI = live{n}, assets.GUI()
	deps.Origins = func() []string { return n.known.admins(n.file.Admin.Listen.Port()) }
}

// admins are the admin URLs of all nodes that are known. A node that has not
// met the others yet knows only their links; their pages shall reach it all the
// same, so it takes them to have its own admin port on one of these addresses.
func (d *directory) admins(port uint16) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]string, 0, len(d.nodes))
	for _, r := range d.nodes {
		if r.Admin != "" {
			out = append(out, r.Admin)
			continue
		}
		for _, l := range r.Links {
			out = append(out, "http://"+netip.AddrPortFrom(l.Addr(), port).String())
		}
	}
	slices.Sort(out)
	return out
}

// live is the node as its live stream wants it.
type live struct{ n *node }

// Changed is closed with the next table of addresses; a new view makes one, too.
func (l live) Changed() <-chan struct{} { return l.n.vips.Table().Changed() }

func (l live) Beat() admin.Beat {
	rs := l.n.ringStatus()
	b := admin.Beat{
		Time: time.Now().UTC(), Node: l.n.file.Node.Name, Seq: rs.Copy.Seq, LeaseLeftMS: rs.LeaseMS,
		RotationsPS: rs.Meter.RotationsPerS, HopP50US: rs.Meter.HopP50.Microseconds(), HopP99US: rs.Meter.HopP99.Microseconds(),
		RequestMS: float64(l.n.metrics.sumNanos.Load()) / 1e6,
	}
	for i := range l.n.metrics.buckets {
		b.RequestsTotal += l.n.metrics.buckets[i].Load()
	}
	return b
}
