package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rain/ring"
	"rain/ring/host"
	"rain/ring/host/bulk"
	"rain/store"
)

// newVersionToken is a text that never repeats.
func newVersionToken() string { return rand.Text() }

// storeRing is the ring as the store wants it: its ops are durable on a quorum's
// disks and applied by all members before a put is confirmed, and the leases of
// former members are over: nobody answers with what was before.
type storeRing struct{ n *node }

func (r storeRing) Propose(ctx context.Context, op []byte) ([]byte, error) {
	before := r.n.store.Catalog().Index()
	res, err := r.n.host.Propose(ctx, ring.RiderCatalog, op, host.Opt{Durable: true, All: true})
	if err != nil {
		return res, err
	}
	if err := r.n.fence(ctx); err != nil {
		return nil, err
	}
	r.n.effects.fresh.raise(before)
	if version, _, err := store.Result(res); err == nil {
		r.n.effects.fresh.raise(version)
	}
	return res, nil
}

func (r storeRing) Members() []ring.NodeID {
	v := r.n.host.View()
	ids := make([]ring.NodeID, len(v.Members))
	for i, m := range v.Members {
		ids[i] = m.ID
	}
	return ids
}

func (r storeRing) Self() ring.NodeID { return r.n.file.Node.ID }

// Storage is the layout's first form: the founders, up or down, and who joined
// them.
func (r storeRing) Storage() []ring.NodeID {
	ids := slices.Concat(r.n.file.Cluster.Founders, r.Members())
	ids = slices.DeleteFunc(ids, r.n.roster.State().Gone)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Known are the founders and all that the roster lists, up or down.
func (r storeRing) Known() []ring.NodeID {
	state := r.n.roster.State()
	ids := slices.Clone(r.n.file.Cluster.Founders)
	for _, n := range state.Nodes {
		ids = append(ids, n.ID)
	}
	return slices.DeleteFunc(ids, state.Gone)
}

func (r storeRing) Ready() error {
	if r.n.isolated() {
		return ring.ErrNotPrimary
	}
	return nil
}

// storePeers reaches other nodes' services.
type storePeers struct{ n *node }

func (p storePeers) Call(ctx context.Context, peer ring.NodeID, service string, f func(net.Conn) error) error {
	return p.n.client.Call(ctx, peer, service, f)
}

// laterServices keeps handlers until there is a server: the store is made
// before the ring, and the ring before its bulk server.
type laterServices struct {
	mu     sync.Mutex
	server *bulk.Server
	kept   map[string]bulk.Handler
}

func (l *laterServices) Handle(service string, h func(context.Context, ring.NodeID, net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server != nil {
		l.server.Handle(service, h)
		return
	}
	if l.kept == nil {
		l.kept = map[string]bulk.Handler{}
	}
	l.kept[service] = h
}

func (l *laterServices) attach(s *bulk.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = s
	for name, h := range l.kept {
		s.Handle(name, h)
	}
	l.kept = nil
}

// vipRing is the ring as the VIP manager wants it.
type vipRing struct{ n *node }

func (r vipRing) Self() ring.Member        { return r.n.self() }
func (r vipRing) Now() ring.Instant        { return r.n.host.Now() }
func (r vipRing) LeaseUntil() ring.Instant { return r.n.leaseUntil() }
func (r vipRing) Propose(ctx context.Context, op []byte) ([]byte, error) {
	return r.n.host.Propose(ctx, ring.RiderVIP, op, host.Opt{})
}

// webCluster is the node as the web server wants it. All answers are loads.
type webCluster struct{ n *node }

func (c webCluster) Now() ring.Instant        { return c.n.host.Now() }
func (c webCluster) LeaseUntil() ring.Instant { return c.n.leaseUntil() }
func (c webCluster) Isolated() bool           { return c.n.isolated() }

func (c webCluster) Holds(addr netip.Addr) bool {
	e := c.n.vips.Table().Find(addr)
	return e != nil && e.Owner == c.n.self() && c.n.host.Now() >= e.FreeAt
}

// webLeaver is the web server as the VIP driver wants it; it is made later.
type webLeaver struct{ n *node }

func (w webLeaver) Leave(addr netip.Addr, within time.Duration) { w.n.web.Leave(addr, within) }
func (w webLeaver) Stay(addr netip.Addr)                        { w.n.web.Stay(addr) }

// isolated reports whether the lease has been out for longer than a late token
// explains.
func (n *node) isolated() bool {
	return n.host.Now().Sub(n.host.LeaseUntil()) > n.timing.Lease+n.timing.StarveTimeout
}

// Ready is nil as a member of the primary view with lease and store.
func (n *node) Ready() error {
	switch {
	case !n.host.Member():
		return fmt.Errorf("joining: not a member of the ring yet")
	case n.isolated():
		return fmt.Errorf("isolated: no quorum in reach: %w", ring.ErrNotPrimary)
	case !n.host.Primary():
		return fmt.Errorf("the lease is out; it comes back with the token")
	}
	if st := n.store.Status(); st.Disk == "failed" {
		return fmt.Errorf("the store's disk failed")
	}
	return nil
}

// retryEvery is how often what the node wants of the cluster is tried again.
const retryEvery = 100 * time.Millisecond
