package transport

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
	"rain/ring/host/seal"
	"rain/ring/link"
	"rain/ring/rudp"
)

// reason says why a datagram was dropped.
type reason int

const (
	dropKey reason = iota
	dropReplay
	dropMalformed
	dropOversize
	dropUnknown
	dropStale
	dropFault
	dropSend
	dropRelay
	reasons
)

// reasonNames are the values of the label "reason" of the metric.
var reasonNames = [reasons]string{"key", "replay", "malformed", "oversize", "unknown_peer", "stale_incarnation", "fault", "send_error", "no_relay"}

func reasonOf(err error) reason {
	switch {
	case errors.Is(err, seal.ErrKey):
		return dropKey
	case errors.Is(err, seal.ErrReplay):
		return dropReplay
	case errors.Is(err, seal.ErrAddress):
		return dropStale
	}
	return dropMalformed
}

// Stats is what the transport has seen.
type Stats struct {
	Paths   []PathStats       // the direct ones, by peer, then as they were made
	Relays  []RelayStats      // by peer
	Carried uint64            // datagrams passed on for others
	Bytes   uint64            // of these
	Dropped map[string]uint64 // datagrams by reason: key, replay, malformed, oversize, unknown_peer, stale_incarnation, fault, send_error, no_relay
}

// PathStats tells of one path to a peer.
type PathStats struct {
	Peer        ring.Member // Inc 0: not known
	Link        string      // local link
	Local       netip.AddrPort
	Remote      netip.AddrPort
	Up          bool
	RTT         time.Duration // smoothed; 0: not measured yet
	Loss        float64       // of the peer's last 64 pings, 0 to 1
	Since       time.Time     // the path is up, or down, since then
	Transitions uint64        // in this session, as both ends count them
	Every       time.Duration // how often it is pinged now
	Flaps       bool          // it must prove itself for longer than usual
}

// RelayStats tells which neighbours stand by to carry datagrams to a peer.
type RelayStats struct {
	Peer ring.NodeID
	Via  []ring.NodeID
	Only bool // there is no other way
}

// PathHistory is what happened on one path, oldest first, at most
// link.Config.Keep transitions.
type PathHistory struct {
	Peer   ring.NodeID
	Link   string
	Remote netip.AddrPort
	Past   []PathTransition
}

// PathTransition is one change of a path.
type PathTransition struct {
	At    time.Time
	Up    bool
	Count uint64 // place in the session's history, the same at both ends
	Cause link.Cause
}

// Stats tells what the transport has seen.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Dropped: make(map[string]uint64, int(reasons)), Carried: t.carried.datagrams, Bytes: t.carried.bytes}
	for r, n := range t.dropped {
		s.Dropped[reasonNames[r]] = n
	}
	now := clock.Now()
	for _, p := range t.byID() {
		for _, a := range p.direct() {
			info := a.mon.Info()
			s.Paths = append(s.Paths, PathStats{
				Peer: ring.Member{ID: p.id, Inc: p.inc}, Link: t.socks[a.sock].name, Local: t.socks[a.sock].addr, Remote: a.remote,
				Up: info.Up && info.Peer == p.inc, Since: wall(now, info.Since), Transitions: info.Transitions,
				RTT: info.RTT, Loss: info.Loss, Every: a.every, Flaps: info.Need > t.cfg.Link.UpEchoes,
			})
		}
		r := RelayStats{Peer: p.id, Only: p.byRelay}
		for _, a := range p.paths[p.nDirect:] {
			if a.via != nil {
				r.Via = append(r.Via, a.via.id)
			}
		}
		s.Relays = append(s.Relays, r)
	}
	return s
}

// History tells what happened on all direct paths.
func (t *Transport) History() []PathHistory {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := clock.Now()
	var out []PathHistory
	for _, p := range t.byID() {
		for _, a := range p.direct() {
			h := PathHistory{Peer: p.id, Link: t.socks[a.sock].name, Remote: a.remote}
			for _, x := range a.mon.Past() {
				h.Past = append(h.Past, PathTransition{At: wall(now, x.At), Up: x.Up, Count: x.Count, Cause: x.Cause})
			}
			out = append(out, h)
		}
	}
	return out
}

// Neighbour is what a peer says of its own paths to another node.
type Neighbour struct {
	From, To  ring.NodeID
	Up, Paths int
}

// Neighbours are the tables that the peers tell, as far as they are not old.
func (t *Transport) Neighbours() []Neighbour {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := clock.Now()
	var out []Neighbour
	for _, p := range t.byID() {
		if p.tableAt == 0 || now.Sub(p.tableAt) > tableOld {
			continue
		}
		for _, r := range p.table {
			out = append(out, Neighbour{From: p.id, To: r.id, Up: int(r.up), Paths: int(r.paths)})
		}
	}
	return out
}

func (t *Transport) byID() []*peer {
	return slices.SortedFunc(slices.Values(t.order), func(a, b *peer) int { return cmp.Compare(a.id, b.id) })
}

// Route is a direct path to a peer that works as far as is known.
type Route struct{ Local, Remote netip.AddrPort }

// Routes are the ways to a peer, those between links of equal number first, then
// the fast ones.
func (t *Transport) Routes(id ring.NodeID) []Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[id]
	if p == nil || p.session == nil {
		return nil
	}
	var good []*path
	for _, a := range p.direct() {
		if a.told == rudp.Up {
			good = append(good, a)
		}
	}
	other := func(a *path) int {
		if a.twin {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(good, func(a, b *path) int {
		return cmp.Or(other(a)-other(b), cmp.Compare(a.mon.Info().RTT, b.mon.Info().RTT))
	})
	var out []Route
	for _, a := range good {
		out = append(out, Route{t.socks[a.sock].addr, a.remote})
	}
	return out
}

// Known is the incarnation of a peer that is known; 0: none.
func (t *Transport) Known(id ring.NodeID) ring.Incarnation {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[id]; p != nil {
		return p.inc
	}
	return 0
}
