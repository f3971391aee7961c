package transport

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/host/seal"
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
	reasons
)

// reasonNames are the values of the label "reason" of the metric.
var reasonNames = [reasons]string{"key", "replay", "malformed", "oversize", "unknown_peer", "stale_incarnation", "fault", "send_error"}

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
	Paths   []PathStats       // by peer, then as they were made
	Dropped map[string]uint64 // datagrams by reason: key, replay, malformed, oversize, unknown_peer, stale_incarnation, fault, send_error
}

// PathStats tells of one path to a peer.
type PathStats struct {
	Peer        ring.Member // Inc 0: not known
	Link        string      // local link
	Remote      netip.AddrPort
	Up          bool
	RTT         time.Duration // 0: not measured yet
	Loss        float64       // 0 to 1, of late
	Since       time.Time     // the path is up, or down, since then
	Transitions uint64
}

// Stats tells what the transport has seen.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Dropped: make(map[string]uint64, int(reasons))}
	for r, n := range t.dropped {
		s.Dropped[reasonNames[r]] = n
	}
	for _, p := range t.order {
		for i, a := range p.paths {
			st := PathStats{
				Peer: ring.Member{ID: p.id, Inc: p.inc}, Link: t.socks[a.sock].name, Remote: a.remote,
				Up: a.up, Since: a.since, Transitions: a.transitions,
			}
			if p.conn != nil {
				l := p.conn.Link(i)
				st.RTT, st.Loss = l.RTT, l.Loss
			}
			s.Paths = append(s.Paths, st)
		}
	}
	slices.SortStableFunc(s.Paths, func(a, b PathStats) int { return int(int64(a.Peer.ID) - int64(b.Peer.ID)) })
	return s
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
