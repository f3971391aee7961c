package transport

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
)

// Fault is what happens to the datagrams of a path, for demonstrations and
// tests. Zero: nothing.
type Fault struct {
	CutIn, CutOut bool
	Drop          float64       // per cent of what is sent, and of what comes
	Delay         time.Duration // of each datagram that is sent, and that comes
}

type faultKey struct {
	peer ring.NodeID
	link string // local name; empty: all
}

// maxDelayed bounds how many datagrams are held back at one time.
const maxDelayed = 4096

// delayed is a datagram that is held back: to a peer, or from it.
type delayed struct {
	at   ring.Instant
	in   bool
	sock int
	peer netip.AddrPort
	b    []byte
}

// SetFault sets what happens between this node and a peer on the local link of
// that name; an empty name means all links. A zero Fault heals: with an empty
// name, all that was set for the peer.
func (t *Transport) SetFault(peer ring.NodeID, link string, f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.faultsChanged()
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

// PathFault is a fault that is on. Link is empty for all links.
type PathFault struct {
	Peer ring.NodeID
	Link string
	Fault
}

// Faults are all that are on, by peer and link.
func (t *Transport) Faults() []PathFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]PathFault, 0, len(t.faults))
	for k, f := range t.faults {
		out = append(out, PathFault{k.peer, k.link, f})
	}
	slices.SortFunc(out, func(a, b PathFault) int { return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Link, b.Link)) })
	return out
}

// ClearFaults heals everything.
func (t *Transport) ClearFaults() {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.faultsChanged()
	clear(t.faults)
}

// faultsChanged wakes those who wait for a link to heal.
func (t *Transport) faultsChanged() {
	t.faulty.Store(len(t.faults) > 0)
	close(t.faultNews)
	t.faultNews = make(chan struct{})
}

// Cut reports whether a connection to or from a peer would not pass, over the
// link with this end: an address of the peer or one of this node. A link that is
// cut one way carries no connection: its acknowledgements are lost. With an end
// that belongs to no path all paths count. Changed is closed at the next change
// of faults, if the link is cut; else it is nil.
func (t *Transport) Cut(id ring.NodeID, end netip.AddrPort) (cut bool, changed <-chan struct{}) {
	if !t.faulty.Load() {
		return false, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[id]
	if p == nil {
		return false, nil
	}
	end = netip.AddrPortFrom(end.Addr().Unmap(), end.Port())
	ends := func(a *path) bool { return a.remote == end || t.cfg.Links[a.sock].Listen == end }
	for _, of := range []func(*path) bool{
		func(a *path) bool { return a.twin && ends(a) }, ends, func(*path) bool { return true },
	} {
		here, cutHere := 0, 0
		for _, a := range p.direct() {
			if of(a) {
				here++
				if f, _ := t.fault(p, a); f.CutIn || f.CutOut {
					cutHere++
				}
			}
		}
		if here > 0 && cutHere < here {
			return false, nil
		}
		if here > 0 {
			return true, t.faultNews
		}
	}
	return false, nil
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
	var due []delayed
	t.delayed = slices.DeleteFunc(t.delayed, func(d delayed) bool {
		if d.at > now {
			if t.delayedAt == 0 || d.at < t.delayedAt {
				t.delayedAt = d.at
			}
			return false
		}
		due = append(due, d)
		return true
	})
	for _, d := range due { // to receive may let go of the lock
		if d.in {
			o, err := t.look(d.b)
			t.take(arrived{sock: d.sock, src: d.peer, b: d.b, late: true}, o, err)
		} else {
			t.write(d.sock, d.peer, d.b)
		}
	}
}

// hold keeps a datagram back, unless there are too many.
func (t *Transport) hold(d delayed) {
	if len(t.delayed) >= maxDelayed {
		t.dropped[dropFault]++
		return
	}
	d.b = slices.Clone(d.b)
	t.delayed = append(t.delayed, d)
	if t.delayedAt == 0 || d.at < t.delayedAt {
		t.delayedAt = d.at
	}
}

// lost reports whether a datagram falls to a fault that cuts its direction.
func (f Fault) lost(cut bool) bool { return cut || f.Drop > 0 && rand.Float64()*100 < f.Drop }

// intercept does to a datagram that came what the faults of its path ask for. It
// reports whether that was its end, for now.
func (t *Transport) intercept(p *peer, i int, in arrived) bool {
	f, ok := t.fault(p, p.paths[i])
	switch {
	case !ok || in.late:
		return false
	case f.lost(f.CutIn):
		t.dropped[dropFault]++
		return true
	case f.Delay > 0:
		t.hold(delayed{at: clock.Now().Add(f.Delay), in: true, sock: p.paths[i].sock, peer: in.src, b: in.b})
		return true
	}
	return false
}
