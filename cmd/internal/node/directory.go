package node

import (
	"encoding/json"
	"net/netip"
	"sync"

	"rain/conf"
	"rain/ring"
)

// directory knows the nodes' names and addresses: from the file, and from the
// rows that members put on the token.
type directory struct {
	services *laterServices

	mu    sync.RWMutex
	nodes map[ring.NodeID]row
}

// row is what a node tells of itself on the token; at most ring.MaxRow bytes.
type row struct {
	Name  string           `json:"n"`
	Admin string           `json:"a,omitempty"` // URL
	Links []netip.AddrPort `json:"l,omitempty"`
}

func newDirectory(f *conf.File) *directory {
	d := &directory{nodes: map[ring.NodeID]row{}}
	for _, p := range f.Peers {
		d.nodes[p.ID] = row{Name: p.Name, Links: p.Links}
	}
	d.nodes[f.Node.ID] = myRow(f)
	return d
}

func myRow(f *conf.File) row {
	r := row{Name: f.Node.Name}
	if f.Admin.Listen.IsValid() {
		r.Admin = "http://" + f.Admin.Listen.String()
	}
	for _, l := range f.Links {
		r.Links = append(r.Links, l.Listen)
	}
	return r
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

// learn takes over what a member's row says; it reports the links of a node
// that was not known before.
func (d *directory) learn(id ring.NodeID, data []byte) (links []netip.AddrPort) {
	var r row
	if err := json.Unmarshal(data, &r); err != nil {
		return nil // of another version: names are for people only
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	old, known := d.nodes[id]
	d.nodes[id] = r
	if !known || len(old.Links) == 0 {
		return r.Links
	}
	return nil
}
