package transport

import (
	"log/slog"
	"net/netip"
	"time"

	"rain/ring"
	"rain/ring/host/seal"
	"rain/ring/rudp"
)

// Hellos to one peer: again after helloRetry while messages wait for its
// incarnation, and answered at most every helloPause.
const (
	helloRetry = 10 * time.Millisecond
	helloPause = 5 * time.Millisecond
)

// peer is what is known of another node.
type peer struct {
	id         ring.NodeID
	inc        ring.Incarnation // 0: not known, and session and conn are nil
	session    *seal.Session
	conn       *rudp.Conn
	adoptedAt  ring.Instant
	configured bool // its addresses are from SetPeer
	paths      []*path
	wake       ring.Instant // of conn
	pending    []pending
	helloAt    ring.Instant // no hello for pending messages before
	answeredAt ring.Instant // last answer to a hello
	queue      queue
}

// path is a pair of a local link and a remote address. Its place in peer.paths
// is the number of the link for rudp.
type path struct {
	sock        int
	remote      netip.AddrPort
	up          bool
	since       time.Time
	transitions uint64
}

// pending is a message that waits for its peer's incarnation.
type pending struct {
	inc   ring.Incarnation // 0: any
	ref   uint64
	msg   []byte
	until ring.Instant
}

func (t *Transport) addPeer(id ring.NodeID) *peer {
	p := &peer{id: id}
	t.peers[id] = p
	t.order = append(t.order, p)
	return p
}

// pair makes the paths to a peer with these addresses.
func (t *Transport) pair(addrs []netip.AddrPort) []*path {
	var out []*path
	add := func(sock int, remote netip.AddrPort) {
		local := t.cfg.Links[sock].Listen.Addr()
		remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
		wild := local.Is6() && local.IsUnspecified() // takes both families
		if remote.IsValid() && (wild || local.Unmap().Is4() == remote.Addr().Is4()) && len(out) < rudp.MaxLinks {
			out = append(out, &path{sock: sock, remote: remote, since: time.Now()})
		}
	}
	if len(addrs) == len(t.socks) {
		for i, a := range addrs {
			add(i, a)
		}
		return out
	}
	for i := range t.socks {
		for _, a := range addrs {
			add(i, a)
		}
	}
	return out
}

// setPaths replaces the paths, unless they are the same.
func (t *Transport) setPaths(now ring.Instant, p *peer, paths []*path) {
	same := len(paths) == len(p.paths)
	for i := 0; same && i < len(paths); i++ {
		same = paths[i].sock == p.paths[i].sock && paths[i].remote == p.paths[i].remote
	}
	if same {
		return
	}
	p.paths = paths
	if len(paths) == 0 {
		t.report(slog.LevelWarn, "peer has no address that a local link can reach", slog.String("peer", p.id.String()))
	}
	if p.conn != nil {
		p.conn.SetLinks(now, len(paths))
		t.apply(p, p.conn.Tick(now))
	}
}

// via finds the path on which a datagram came, and puts the address right for a
// peer that was learned. -1: there is none.
func (p *peer) via(sock int, from netip.AddrPort) int {
	near := -1
	for i, a := range p.paths {
		if a.sock == sock {
			if a.remote == from {
				return i
			}
			if near < 0 {
				near = i
			}
		}
	}
	return near
}

// adopt starts anew with an incarnation of the peer, or of this node.
func (t *Transport) adopt(now ring.Instant, p *peer, inc ring.Incarnation, s *seal.Session) {
	if p.conn != nil {
		for _, v := range p.conn.Abort() {
			t.fail(&p.queue, v.Ref)
		}
	}
	conn, err := rudp.New(t.cfg.conn(max(len(p.paths), 1)), now)
	if err != nil {
		panic(err) // the config was validated: a bug
	}
	if p.inc != inc {
		t.report(slog.LevelInfo, "peer has a new incarnation",
			slog.String("peer", p.id.String()), slog.Uint64("incarnation", uint64(inc)))
	}
	p.inc, p.session, p.conn, p.adoptedAt = inc, s, conn, now
	t.apply(p, conn.Tick(now))
	wait := p.pending
	p.pending = nil
	for _, m := range wait {
		switch {
		case m.inc == 0 || m.inc == inc:
			t.apply(p, conn.Send(now, m.ref, m.msg))
		case m.inc < inc:
			t.fail(&p.queue, m.ref)
		default:
			p.pending = append(p.pending, m)
		}
	}
}

// hello tells the peer on all paths who this is.
func (t *Transport) hello(now ring.Instant, p *peer) {
	p.helloAt = now.Add(helloRetry)
	for i := range p.paths {
		t.helloOn(now, p, i)
	}
}

func (t *Transport) helloOn(now ring.Instant, p *peer, i int) {
	t.sealed = t.keys.SealHello(t.sealed[:0], seal.Hello{From: t.me, To: p.id, Known: p.inc})
	t.transmit(now, p, i)
}

// expirePending gives up messages that waited too long for a hello.
func (t *Transport) expirePending(now ring.Instant, p *peer) {
	if len(p.pending) == 0 {
		return
	}
	keep := p.pending[:0]
	for _, m := range p.pending {
		if m.until <= now {
			t.fail(&p.queue, m.ref)
		} else {
			keep = append(keep, m)
		}
	}
	clear(p.pending[len(keep):])
	p.pending = keep
	if len(keep) > 0 && now >= p.helloAt {
		t.hello(now, p)
	}
}

// pendingWake is when the messages that wait need attention; 0: never.
func (p *peer) pendingWake() ring.Instant {
	if len(p.pending) == 0 {
		return 0
	}
	return min(p.helloAt, p.pending[0].until) // all wait equally long
}

// watch notes which paths are up, and greets a peer that is silent.
func (t *Transport) watch(now ring.Instant, p *peer) {
	silent := true
	for i, a := range p.paths {
		up := false
		if p.conn != nil {
			heard := p.conn.Link(i).Heard
			up = heard != 0 && now.Sub(heard) < 3*t.cfg.PingEvery+t.cfg.SendTimeout
			if heard == 0 && a.up && now.Sub(p.adoptedAt) < 3*t.cfg.PingEvery {
				up = true // a new incarnation; not measured yet
			}
			silent = silent && (heard == 0 || now.Sub(heard) > 2*t.cfg.PingEvery)
		}
		if up == a.up {
			continue
		}
		a.up, a.since = up, time.Now()
		a.transitions++
		level, what := slog.LevelInfo, "link up"
		if !up {
			level, what = slog.LevelWarn, "link down"
		}
		t.report(level, what, slog.String("peer", p.id.String()), slog.String("link", t.socks[a.sock].name),
			slog.String("remote", a.remote.String()), slog.Uint64("transitions", a.transitions))
	}
	if silent {
		t.hello(now, p)
	}
}
