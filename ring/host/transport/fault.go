package transport

import (
	"net/netip"
	"slices"
	"time"

	"rain/ring"
)

// Fault is what happens to the datagrams of a path, for demonstrations and
// tests. Zero: nothing.
type Fault struct {
	CutIn, CutOut bool
	Drop          float64       // per cent of what is sent
	Delay         time.Duration // of what is sent
}

type faultKey struct {
	peer ring.NodeID
	link string // local name; empty: all
}

// maxDelayed bounds how many datagrams are held back at one time.
const maxDelayed = 4096

// delayed is a datagram that is held back.
type delayed struct {
	at   ring.Instant
	sock int
	to   netip.AddrPort
	b    []byte
}

// SetFault sets what happens between this node and a peer on the local link of
// that name; an empty name means all links. A zero Fault heals: with an empty
// name, all that was set for the peer.
func (t *Transport) SetFault(peer ring.NodeID, link string, f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if link == "" {
		for k := range t.faults {
			if k.peer == peer {
				delete(t.faults, k)
			}
		}
	}
	if f == (Fault{}) {
		delete(t.faults, faultKey{peer, link})
		// Otherwise a fault of all links would go on under the name of one.
		if all, ok := t.faults[faultKey{peer, ""}]; ok && link != "" {
			delete(t.faults, faultKey{peer, ""})
			for _, s := range t.socks {
				if s.name != link {
					t.faults[faultKey{peer, s.name}] = all
				}
			}
		}
		return
	}
	t.faults[faultKey{peer, link}] = f
}

// Fault tells what is set for a peer and link.
func (t *Transport) Fault(peer ring.NodeID, link string) Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.faults[faultKey{peer, link}]
}

// ClearFaults heals everything.
func (t *Transport) ClearFaults() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.faults)
}

func (t *Transport) fault(p *peer, a *path) (Fault, bool) {
	if len(t.faults) == 0 {
		return Fault{}, false
	}
	if f, ok := t.faults[faultKey{p.id, t.socks[a.sock].name}]; ok {
		return f, true
	}
	f, ok := t.faults[faultKey{p.id, ""}]
	return f, ok
}

func (t *Transport) flushDelayed(now ring.Instant) {
	if t.delayedAt == 0 || t.delayedAt > now {
		return
	}
	t.delayedAt = 0
	t.delayed = slices.DeleteFunc(t.delayed, func(d delayed) bool {
		if d.at > now {
			if t.delayedAt == 0 || d.at < t.delayedAt {
				t.delayedAt = d.at
			}
			return false
		}
		t.write(d.sock, d.to, d.b)
		return true
	})
}
