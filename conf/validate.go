package conf

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"rain/ring"
)

// Limits of a node file.
const (
	maxLinks    = 8
	maxFounders = 64
	maxPeers    = 256
	maxListen   = 16
	maxPools    = 32
	maxVIPs     = 256 // in all pools
	maxDrain    = 10 * time.Minute
	maxRebuild  = 365 * 24 * time.Hour
)

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	nameAllowed = "1 to 63 of a-z, 0-9 and -, not - at an end"
)

// validate checks what one value alone does not tell. A key that has a fault
// already is left alone.
func (b *binder) validate(f *File) {
	b.name("node.name", f.Node.Name)
	b.name("cluster.name", f.Cluster.Name)
	if d := f.Node.DrainTimeout; d < 0 || d > maxDrain {
		b.fault("node.drain_timeout", "from 0s to "+maxDrain.String(), "%s is out of range", d)
	}
	if !b.bad("node.data") && f.Node.Data == "" {
		b.fault("node.data", "a folder of this node's own", "is empty")
	}
	if !b.bad("cluster.key_file") && f.Cluster.KeyFile == "" {
		b.fault("cluster.key_file", "a file made by 'rainctl key new FILE'", "is empty")
	}
	if !b.bad("admin.token_file") && f.Admin.TokenFile == "" {
		b.fault("admin.token_file", "a file made by 'rainctl key new FILE'", "is empty")
	}
	b.links(f)
	b.peers(f)
	b.founders(f)
	b.witness(f)
	if len(f.Web.Listen) > maxListen {
		b.fault("web.listen", fmt.Sprintf("at most %d", maxListen), "%d addresses", len(f.Web.Listen))
	}
	if p := f.Web.VIPPort; p < 1 || p > 65535 {
		b.fault("web.vip_port", "a port from 1 to 65535", "%d is out of range", p)
	}
	if n := f.Store.ReserveBytes; n < 0 || n > 1<<50 {
		b.fault("store.reserve_bytes", "from 0 to 2^50, in bytes", "%d is out of range", n)
	}
	if d := f.Store.RebuildAfter; d < time.Second || d > maxRebuild {
		b.fault("store.rebuild_after", "from 1s to "+maxRebuild.String(), "%s is out of range", d)
	}
	b.pools(f)
	b.ports(f)
}

// ValidName reports whether a text may be the name of a node or a cluster.
func ValidName(name string) bool { return namePattern.MatchString(name) }

func (b *binder) name(path, name string) {
	if !b.bad(path) && !ValidName(name) {
		b.fault(path, nameAllowed, "%q is not a name", name)
	}
}

// unique reports the second of two equal values.
func unique[T comparable](b *binder, seen map[T]string, v T, path string) {
	if b.bad(path) {
		return
	}
	if first, ok := seen[v]; ok {
		b.fault(path, "each may be given once", "%v is there already, as %s (line %d)", v, first, b.lineOf(first))
		return
	}
	seen[v] = path
}

func (b *binder) links(f *File) {
	if len(f.Links) == 0 && !b.bad("link") {
		b.fault("link", "write [[link]] with name and listen for each interface that the nodes meet on", "missing")
	}
	if len(f.Links) > maxLinks {
		b.fault("link", fmt.Sprintf("at most %d", maxLinks), "%d links", len(f.Links))
		return
	}
	names := map[string]string{}
	for i, l := range f.Links {
		at := fmt.Sprintf("link[%d]", i)
		b.name(at+".name", l.Name)
		unique(b, names, l.Name, at+".name")
		if !b.bad(at+".listen") && (l.Listen.Addr().IsUnspecified() || l.Listen.Addr().IsMulticast()) {
			b.fault(at+".listen", "the address of one interface; peers send to it and know it by it", "%s is no single address", l.Listen.Addr())
		}
	}
}

func (b *binder) peers(f *File) {
	if len(f.Peers) > maxPeers {
		b.fault("peer", fmt.Sprintf("at most %d", maxPeers), "%d peers", len(f.Peers))
		return
	}
	ids, names, addrs := map[ring.NodeID]string{}, map[string]string{}, map[netip.AddrPort]string{}
	for i, p := range f.Peers {
		at := fmt.Sprintf("peer[%d]", i)
		b.name(at+".name", p.Name)
		unique(b, ids, p.ID, at+".id")
		unique(b, names, p.Name, at+".name")
		if !b.bad(at+".links") && (len(p.Links) == 0 || len(p.Links) > maxLinks) {
			b.fault(at+".links", fmt.Sprintf("1 to %d", maxLinks), "%d addresses", len(p.Links))
		}
		for j, a := range p.Links {
			here := fmt.Sprintf("%s.links[%d]", at, j)
			unique(b, addrs, a, here)
			if !b.bad(here) && a.Addr().IsUnspecified() {
				b.fault(here, "the address of one interface of that node", "%s is no single address", a.Addr())
			}
		}
		if b.bad(at) || b.bad("node.id") || b.bad("node.name") {
			continue
		}
		switch self := p.ID == f.Node.ID; {
		case self && p.Name != f.Node.Name:
			b.fault(at+".name", fmt.Sprintf("%q, as in [node], or another id", f.Node.Name), "%q has this node's own id %s and another name", p.Name, p.ID)
		case !self && p.Name == f.Node.Name:
			b.fault(at+".name", "names differ in a cluster", "%q is this node's own name, with another id", p.Name)
		}
	}
}

func (b *binder) founders(f *File) {
	if b.bad("cluster.founders") {
		return
	}
	ids := f.Cluster.Founders
	if len(ids) == 0 || len(ids) > maxFounders {
		b.fault("cluster.founders", fmt.Sprintf("1 to %d node ids, the same in every node's file", maxFounders), "%d ids", len(ids))
		return
	}
	seen := map[ring.NodeID]string{}
	for i, id := range ids {
		at := fmt.Sprintf("cluster.founders[%d]", i)
		unique(b, seen, id, at)
		known := id == f.Node.ID || slices.ContainsFunc(f.Peers, func(p Peer) bool { return p.ID == id })
		if !known && !b.bad("peer") && !b.bad("node.id") {
			b.fault(at, "write a [[peer]] for each founder but this node", "no [[peer]] has the id %s", id)
		}
	}
}

// witness goes with its policy.
func (b *binder) witness(f *File) {
	if b.bad("cluster.witness") || b.bad("cluster.policy") {
		return
	}
	switch has := f.Cluster.Witness != ""; {
	case has && !f.Cluster.WitnessAddr().IsValid():
		b.fault("cluster.witness", `an IP address and a port, such as "10.0.0.9:7401"`, "%q is not allowed", f.Cluster.Witness)
	case f.Cluster.Policy == "witness" && !has:
		b.fault("cluster.witness", `the address of a box that runs 'snow witness', such as "10.0.0.9:7401"`, `missing, and policy "witness" needs it`)
	case f.Cluster.Policy != "witness" && has:
		b.fault("cluster.witness", `policy = "witness", or no witness`, "is of no use with policy %q", f.Cluster.Policy)
	}
}

func (b *binder) pools(f *File) {
	if len(f.VIP.Pools) > maxPools {
		b.fault("vip.pool", fmt.Sprintf("at most %d", maxPools), "%d pools", len(f.VIP.Pools))
		return
	}
	names, addrs, total := map[string]string{}, map[netip.Addr]string{}, 0
	for i, p := range f.VIP.Pools {
		at := fmt.Sprintf("vip.pool[%d]", i)
		b.name(at+".name", p.Name)
		unique(b, names, p.Name, at+".name")
		if f.VIP.Driver == "linux" && p.Interface == "" && !b.bad(at+".interface") {
			b.fault(at+".interface", `the interface that gets the addresses, such as "eth0"`, `missing, and driver "linux" needs it`)
		}
		if len(p.Addresses) == 0 && !b.bad(at+".addresses") {
			b.fault(at+".addresses", fmt.Sprintf("1 to %d in all", maxVIPs), "is empty")
		}
		if total += len(p.Addresses); total > maxVIPs {
			b.fault("vip.pool", fmt.Sprintf("at most %d in all", maxVIPs), "%d addresses", total)
			return
		}
		for j, a := range p.Addresses {
			here := fmt.Sprintf("%s.addresses[%d]", at, j)
			unique(b, addrs, a.Addr(), here)
			switch {
			case b.bad(here):
			case f.VIP.Driver == "loopback" && !a.Addr().IsLoopback():
				b.fault(here, `with driver "loopback" an address of 127.0.0.0/8`, "%s is not on the loopback", a.Addr())
			case a.Addr().IsUnspecified() || a.Addr().IsMulticast():
				b.fault(here, "a single unicast address", "%s cannot be held", a.Addr())
			}
		}
	}
}

// ports finds two listeners on one address and port. A wildcard takes the port
// on every address.
func (b *binder) ports(f *File) {
	type use struct {
		path string
		addr netip.AddrPort
	}
	var uses []use
	for i, l := range f.Links {
		uses = append(uses, use{fmt.Sprintf("link[%d].listen", i), l.Listen})
	}
	uses = append(uses, use{"admin.listen", f.Admin.Listen})
	for i, a := range f.Web.Listen {
		uses = append(uses, use{fmt.Sprintf("web.listen[%d]", i), a})
	}
	for i, p := range f.VIP.Pools {
		for j, a := range p.Addresses {
			uses = append(uses, use{fmt.Sprintf("vip.pool[%d].addresses[%d]", i, j), netip.AddrPortFrom(a.Addr(), uint16(f.Web.VIPPort))})
		}
	}
	uses = uses[:min(len(uses), maxLinks+1+maxListen+maxVIPs)] // more than that is a fault already
	for i, u := range uses {
		for _, v := range uses[:i] {
			if !u.addr.IsValid() || !v.addr.IsValid() || u.addr.Port() != v.addr.Port() {
				continue
			}
			wild := u.addr.Addr().IsUnspecified() || v.addr.Addr().IsUnspecified()
			if b.lines[u.path] == 0 {
				u, v = v, u // u is a default: the line that was written is the one to change
			}
			if (u.addr == v.addr || wild) && !b.bad(u.path) && !b.bad(v.path) {
				b.fault(u.path, "every listener, and every VIP at web.vip_port, needs an address and port of its own",
					"%s is taken by %s, %s (line %d)", u.addr, v.path, v.addr, b.lineOf(v.path))
			}
		}
	}
}
