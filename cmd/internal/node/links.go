package node

import (
	"log/slog"

	"rain/ring"
	"rain/ring/host/bulk"
	"rain/ring/host/transport"
	"rain/snow/admin"
)

func linkOf(a string, name func(ring.NodeID) string, p transport.PathStats) admin.Link {
	l := admin.Link{
		A: a, B: name(p.Peer.ID), Link: p.Link + "-" + p.Remote.String(), State: "down",
		RTTUS: p.RTT.Microseconds(), Loss: p.Loss, Transitions: p.Transitions, Since: p.Since,
	}
	if p.Up {
		l.State = "up"
	}
	return l
}

// links is the status' part.
func (n *node) links() []admin.Link {
	out := []admin.Link{}
	for _, p := range n.tr.Stats().Paths {
		out = append(out, linkOf(n.file.Node.Name, n.known.name, p))
	}
	return out
}

// allLinks is all that this node knows of paths.
func (n *node) allLinks(history bool) admin.LinksAnswer {
	s := n.tr.Stats()
	out := admin.LinksAnswer{Node: n.file.Node.Name, Carried: s.Carried}
	var past []transport.PathHistory
	if history {
		past = n.tr.History()
	}
	for _, p := range s.Paths {
		l := admin.LinkPath{
			Link: linkOf(out.Node, n.known.name, p), Local: p.Local.String(), Remote: p.Remote.String(),
			PingEveryMS: p.Every.Milliseconds(), Flaps: p.Flaps,
		}
		for _, h := range past {
			if h.Peer == p.Peer.ID && h.Link == p.Link && h.Remote == p.Remote {
				l.History = changes(h.Past)
			}
		}
		out.Links = append(out.Links, l)
	}
	for _, x := range n.tr.Neighbours() {
		out.Neighbours = append(out.Neighbours, admin.Neighbour{From: n.known.name(x.From), To: n.known.name(x.To), Up: x.Up, Paths: x.Paths})
	}
	for _, r := range s.Relays {
		x := admin.Relay{To: n.known.name(r.Peer), Only: r.Only, Via: []string{}}
		for _, q := range r.Via {
			x.Via = append(x.Via, n.known.name(q))
		}
		out.Relays = append(out.Relays, x)
	}
	return out
}

func changes(past []transport.PathTransition) []admin.LinkChange {
	out := make([]admin.LinkChange, 0, len(past))
	for _, t := range past {
		c := admin.LinkChange{At: t.At, State: "down", Count: t.Count, Cause: string(t.Cause)}
		if t.Up {
			c.State = "up"
		}
		out = append(out, c)
	}
	return out
}

// bulkRoutes are the ways that work now, for big bytes.
func (n *node) bulkRoutes(id ring.NodeID) []bulk.Route {
	var out []bulk.Route
	for _, r := range n.tr.Routes(id) {
		out = append(out, bulk.Route{Local: r.Local.Addr().Unmap(), Remote: r.Remote})
	}
	return out
}

// thinWay tells that a way to a node loses long packets.
func (n *node) thinWay(id ring.NodeID, way bulk.Route) {
	n.log.Warn("long packets are lost on the way to a node; big bytes go in short ones: compare the MTU of interfaces, switches and tunnels",
		slog.String("peer", id.String()), slog.String("local", way.Local.String()), slog.String("remote", way.Remote.String()))
}
