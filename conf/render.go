package conf

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"rain/ring"
)

// Render writes a node file that Parse reads as f, with a comment to each part.
// What has its default and is seldom changed is left out; paths are written as
// they are in f. Secrets are not in it.
func Render(f *File) []byte {
	d := Default()
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	diff := func(differs bool, format string, args ...any) {
		if differs {
			line(format, args...)
		}
	}
	line("# One node of a RAIN cluster. 'snow config' prints all keys with their meaning;")
	line("# 'snow check FILE' looks for faults.\n")
	line("[node]\nname = %q\nid = %q\ndata = %q", f.Node.Name, f.Node.ID, f.Node.Data)
	diff(f.Node.DrainTimeout != d.Node.DrainTimeout, "drain_timeout = %q", f.Node.DrainTimeout)
	line("\n[cluster]\nname = %q\nkey_file = %q\npreset = %q", f.Cluster.Name, f.Cluster.KeyFile, f.Cluster.Preset)
	diff(f.Cluster.Detection != d.Cluster.Detection, "detection = %q", f.Cluster.Detection)
	diff(f.Cluster.Policy != d.Cluster.Policy, "policy = %q", f.Cluster.Policy)
	diff(f.Cluster.Witness != "", "witness = %q", f.Cluster.Witness)
	diff(!f.Cluster.Relay, "relay = false")
	line("founders = %s", list(f.Cluster.Founders, ring.NodeID.String))
	line("\n# The interfaces that the nodes meet on: UDP for the token, TCP for bulk.")
	for _, l := range f.Links {
		line("[[link]]\nname = %q\nlisten = %q\n", l.Name, l.Listen)
	}
	if len(f.Peers) > 0 {
		line("# Nodes to look for at the start. Others become known by themselves.")
	}
	for _, p := range f.Peers {
		line("[[peer]]\nid = %q\nname = %q\nlinks = %s\n", p.ID, p.Name, list(p.Links, netip.AddrPort.String))
	}
	diff(f.Log != d.Log, "[log]\nlevel = %q\nformat = %q\n", f.Log.Level, f.Log.Format)
	line("# The sites, on this node's own addresses and on the virtual ones.")
	line("[web]\nlisten = %s\nvip_port = %d", list(f.Web.Listen, netip.AddrPort.String), f.Web.VIPPort)
	diff(f.Web.NodeHeader, "node_header = true")
	diff(f.Web.Guestbook, "guestbook = true")
	diff(!f.Web.Queue, "queue = false")
	diff(f.Web.AccessLog != "", "access_log = %q\naccess_format = %q", f.Web.AccessLog, f.Web.AccessFormat)
	line("\n# For rainctl and monitoring. The token is sent in clear: keep it in a network of yours.")
	line("[admin]\nlisten = %q\ntoken_file = %q", f.Admin.Listen, f.Admin.TokenFile)
	diff(f.Admin.MetricsPublic, "metrics_public = true")
	if f.Store != d.Store {
		line("\n[store]\nreserve_bytes = %d\nrebuild_after = %q\ncode = %q", f.Store.ReserveBytes, f.Store.RebuildAfter, f.Store.Code)
	}
	diff(f.Fault.Allow, "\n[fault]\nallow = true")
	line("\n# The virtual addresses, and how this node takes them.\n[vip]\ndriver = %q", f.VIP.Driver)
	for _, p := range f.VIP.Pools {
		line("\n[[vip.pool]]\nname = %q", p.Name)
		diff(p.Interface != "", "interface = %q", p.Interface)
		line("addresses = %s", list(p.Addresses, netip.Prefix.String))
	}
	return b.Bytes()
}

func list[T any](items []T, text func(T) string) string {
	quoted := make([]string, len(items))
	for i, v := range items {
		quoted[i] = fmt.Sprintf("%q", text(v))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
