package bulk

import (
	"net/netip"
	"slices"
	"time"

	"rain/ring"
)

// Route is a way to a node: from an address of this one, invalid if the system
// shall choose, to an address of that one.
type Route struct {
	Local  netip.Addr
	Remote netip.AddrPort
}

// apart reports whether two ways share no link.
func (r Route) apart(o Route) bool {
	return r.Remote != o.Remote && (!r.Local.IsValid() || r.Local != o.Local)
}

// SetLocal says where this node's own links listen: connections then leave by
// the link that they are meant for. Call it before the first Dial or Call.
func (c *Client) SetLocal(addrs []netip.AddrPort) { c.local = slices.Clone(addrs) }

// SetRoutes has the client ask which ways to a node work now, the best first;
// none means not known. Call it before the first Dial or Call.
func (c *Client) SetRoutes(f func(ring.NodeID) []Route) { c.routes = f }

// order is the order in which to try the ways to a peer this time, and whether
// there are several links, so that a bundle is worth its while.
func (c *Client) order(to ring.NodeID) (ways []Route, bundled bool, err error) {
	var known []Route
	if c.routes != nil {
		known = c.routes(to)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, ErrClosed
	}
	p := c.peers[to]
	if p == nil {
		return nil, false, ErrUnknownPeer
	}
	all := c.pairs(p)
	p.turn = (p.turn + 1) % len(all)
	ways = slices.Concat(all[p.turn:], all[:p.turn])
	rank := func(r Route) int {
		n := 0
		if at, ok := p.bad[r]; ok && time.Since(at) < badFor {
			n = 1
		}
		if len(known) > 0 && !slices.Contains(known, r) {
			n += 2
		}
		return n
	}
	slices.SortStableFunc(ways, func(a, b Route) int { return rank(a) - rank(b) })
	// Other pairs of links may work where those of equal number do not.
	for _, r := range known {
		if len(ways) > 0 && rank(ways[0]) > 0 && slices.Contains(p.addrs, r.Remote) && !slices.Contains(ways, r) {
			ways = slices.Insert(ways, 0, r)
		}
	}
	return ways, len(p.addrs) > 1, nil
}

// pairs are the ways from link i to address i; the system chooses the link if
// the numbers differ.
func (c *Client) pairs(p *peer) []Route {
	var out []Route
	for i, a := range p.addrs {
		r := Route{Remote: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
		if len(c.local) == len(p.addrs) && len(c.local) > 1 && c.local[i].Addr().Unmap().Is4() == r.Remote.Addr().Is4() {
			r.Local = c.local[i].Addr().Unmap()
		}
		out = append(out, r)
	}
	return out
}
