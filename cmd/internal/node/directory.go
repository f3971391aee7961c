package node

import (
	"encoding/json"
	"net/netip"
	"sync"

	"rain/conf"
	"rain/ring"
	"rain/ring/roster"
)

// directory knows the nodes' names and addresses: from the file, and from the
// rows that members put on the token.
type directory struct {
	services *laterServices

	mu    sync.RWMutex
	nodes map[ring.NodeID]row
	rowed map[ring.NodeID]bool // its row was seen
}

// row is what a node tells of itself on the token; at most ring.MaxRow bytes.
type row struct {
	Name  string           `json:"n"`
	Admin string           `json:"a,omitempty"` // URL
	Links []netip.AddrPort `json:"l,omitempty"`
	NoVIP bool             `json:"v,omitempty"` // it holds no virtual IPs by its file
	Max   int              `json:"m,omitempty"` // the highest version that it speaks
}

func newDirectory(f *conf.File) *directory {
	d := &directory{nodes: map[ring.NodeID]row{}, rowed: map[ring.NodeID]bool{}}
	for _, p := range f.Peers {
		d.nodes[p.ID] = row{Name: p.Name, Links: p.Links}
	}
	d.nodes[f.Node.ID] = myRow(f)
	return d
}

func myRow(f *conf.File) row {
	r := row{Name: f.Node.Name, Max: maxVersion}
	for _, l := range f.Links {
		r.Links = append(r.Links, l.Listen)
	}
	r.NoVIP = f.VIP.Driver == "none"
	if at := f.Admin.Listen; at.IsValid() {
		if at.Addr().IsUnspecified() && len(f.Links) > 0 {
			// It listens everywhere; others reach it where they meet it.
			at = netip.AddrPortFrom(f.Links[0].Listen.Addr(), at.Port())
		}
		r.Admin = "http://" + at.String()
	}
	return r
}

// meet takes over what the roster says of a node, and reports so. What its row
// said since this node's start is newer.
func (d *directory) meet(n roster.Node) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rowed[n.ID] {
		return false
	}
	d.nodes[n.ID] = row{Name: n.Name, Admin: n.Admin, Links: n.Links}
	return true
}

// forget drops a node that is gone for good.
func (d *directory) forget(id ring.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.nodes, id)
	delete(d.rowed, id)
}

// noVIP reports whether the node's file says that it holds no virtual IPs.
func (d *directory) noVIP(id ring.NodeID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.nodes[id].NoVIP
}

// name is the node's name, or its id while that is not known.
func (d *directory) name(id ring.NodeID) string {
	if id == 0 {
		return ""
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if r, ok := d.nodes[id]; ok && r.Name != "" {
		return r.Name
	}
	return id.String()
}

func (d *directory) admin(id ring.NodeID) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.nodes[id].Admin
}

// id finds a node by name or id.
func (d *directory) id(name string) (ring.NodeID, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for id, r := range d.nodes {
		if r.Name == name || id.String() == name {
			return id, true
		}
	}
	return 0, false
}

// ids are all nodes ever heard of, in no order.
func (d *directory) ids() []ring.NodeID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]ring.NodeID, 0, len(d.nodes))
	for id := range d.nodes {
		out = append(out, id)
	}
	return out
}

func parseRow(data []byte) (r row, ok bool) {
	err := json.Unmarshal(data, &r)
	return r, err == nil
}

// learn takes over what a member's row says; it reports its links.
func (d *directory) learn(id ring.NodeID, data []byte) (links []netip.AddrPort) {
	r, ok := parseRow(data)
	if !ok {
		return nil // of another version: names are for people only
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes[id], d.rowed[id] = r, true
	return r.Links
}

// links are where the node listens, as last known.
func (d *directory) links(id ring.NodeID) []netip.AddrPort {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.nodes[id].Links
}
