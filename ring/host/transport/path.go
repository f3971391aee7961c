package transport

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/link"
	"rain/ring/rudp"
)

// MaxPaths is how many pairs of a local link and an address of a peer are used.
const MaxPaths = 8

// path is a way to a peer: from a local link to one of its addresses, or by a
// neighbour. Its place in peer.paths is the number of the link for rudp.
type path struct {
	sock   int
	remote netip.AddrPort
	mon    *link.Monitor
	theirs time.Duration // how often the peer pings it; 0: not known
	every  time.Duration // how often this node does, once it is up
	slop   time.Duration // a ping may be so early
	twin   bool          // of links of equal number: bulk connections go this way
	born   ring.Instant
	heard  ring.Instant // when anything authentic last came over it

	relay bool // by a neighbour, and then of the above only heard holds
	via   *peer

	told rudp.State // what rudp was told last
}

// pair makes the paths to a peer with these addresses: every link with every
// address of its family. Both ends must leave out the same ones where there are
// too many: those of link i with address j and of link j with address i stand or
// fall together, and links of equal number come first.
func (t *Transport) pair(addrs []netip.AddrPort) []*path {
	type ij struct{ i, j int }
	var all []ij
	for i := range t.socks {
		for j := range addrs {
			all = append(all, ij{i, j})
		}
	}
	apart := func(p ij) int { return max(p.i, p.j) - min(p.i, p.j) }
	slices.SortStableFunc(all, func(a, b ij) int {
		return cmp.Or(apart(a)-apart(b), min(a.i, a.j)-min(b.i, b.j), a.i-b.i)
	})
	var out []*path
	for len(all) > 0 {
		n := 1 // the pair and its mirror image
		if len(all) > 1 && all[0].i == all[1].j && all[0].j == all[1].i {
			n = 2
		}
		var add []*path
		for _, p := range all[:n] {
			local := t.cfg.Links[p.i].Listen.Addr()
			remote := netip.AddrPortFrom(addrs[p.j].Addr().Unmap(), addrs[p.j].Port())
			wild := local.Is6() && local.IsUnspecified() // takes both families
			if remote.IsValid() && (wild || local.Unmap().Is4() == remote.Addr().Is4()) {
				add = append(add, &path{sock: p.i, remote: remote, twin: p.i == p.j})
			}
		}
		if len(out)+len(add) > MaxPaths {
			break
		}
		out = append(out, add...)
		all = all[n:]
	}
	return out
}

// setPaths replaces the direct paths, unless they are the same. One that stays
// keeps its history.
func (t *Transport) setPaths(now ring.Instant, p *peer, paths []*path) {
	old := p.direct()
	same := len(paths) == len(old)
	for i, a := range paths {
		at := slices.IndexFunc(old, func(o *path) bool { return o.sock == a.sock && o.remote == a.remote })
		if at >= 0 {
			paths[i] = old[at]
		} else {
			t.monitor(now, a)
		}
		same = same && at == i
	}
	if same && len(p.paths) > 0 {
		return
	}
	if len(paths) == 0 {
		t.report(slog.LevelWarn, "peer has no address that a local link can reach", slog.String("peer", p.id.String()))
	}
	p.nDirect = len(paths)
	p.paths = slices.Clone(paths)
	for range t.cfg.Relays {
		p.paths = append(p.paths, &path{relay: true})
	}
	t.linksAt, t.relaysDue = now, true
	if p.conn != nil {
		p.conn.SetLinks(now, len(p.paths))
		t.tellAll(now, p)
	}
}

// monitor gives a new path its history.
func (t *Transport) monitor(now ring.Instant, a *path) {
	cfg := t.cfg.Link
	m, err := link.New(cfg, t.me.Inc, now)
	if err != nil {
		panic(err) // the config was validated: a bug
	}
	a.mon, a.born, a.every, a.slop = m, now, cfg.Every, cfg.Every/4
}

// direct are the paths that lead there without another node's help.
func (p *peer) direct() []*path { return p.paths[:p.nDirect] }

// ways are the one or two direct paths for a frame that nobody sends again:
// those that work as far as is known, the best first; the second has another
// link and address if it can, so that one cable less loses nothing. The receiver
// drops the copy. It is valid until the next call.
func (t *Transport) ways(p *peer) []*path {
	t.two = t.two[:0]
	if p.session == nil {
		return t.two
	}
	type cost struct {
		fails, same int
		rtt         time.Duration
	}
	for range 2 {
		var best *path
		var least cost
		for i, a := range p.direct() {
			if a.told != rudp.Up || slices.Contains(t.two, a) {
				continue
			}
			l := p.conn.Link(i)
			c := cost{fails: l.Fails, rtt: l.RTT}
			for _, b := range t.two {
				if a.sock == b.sock {
					c.same++
				}
				if a.remote == b.remote {
					c.same++
				}
			}
			if best == nil || cmp.Or(cmp.Compare(c.same, least.same), cmp.Compare(c.fails, least.fails), cmp.Compare(c.rtt, least.rtt)) < 0 {
				best, least = a, c
			}
		}
		if best != nil {
			t.two = append(t.two, best)
		}
	}
	return t.two
}

// reached reports whether a direct path to a peer works as far as is known.
func (p *peer) reached() bool {
	return p.session != nil && slices.ContainsFunc(p.direct(), func(a *path) bool { return a.told == rudp.Up })
}

// upPaths is how many direct paths are Up.
func (p *peer) upPaths() (n int) {
	for _, a := range p.direct() {
		if info := a.mon.Info(); info.Up && info.Peer == p.inc {
			n++
		}
	}
	return n
}

// via finds the path on which a datagram came. exact is false if only the local
// link is right. -1: there is none.
func (p *peer) via(sock int, from netip.AddrPort) (i int, exact bool) {
	near := -1
	for i, a := range p.direct() {
		if a.sock == sock {
			if a.remote == from {
				return i, true
			}
			if near < 0 {
				near = i
			}
		}
	}
	return near, false
}

// learn notes from where a peer that was learned, not configured, or that has
// moved, has just proved to send. It returns the path, -1 if there is no room for one.
func (t *Transport) learn(now ring.Instant, p *peer, sock int, src netip.AddrPort) int {
	i, exact := p.via(sock, src)
	switch {
	case exact:
	case p.nDirect < MaxPaths:
		i = p.nDirect
		t.setPaths(now, p, append(slices.Clone(p.direct()), &path{sock: sock, remote: src}))
	case i >= 0 && !p.configured:
		p.paths[i].remote = src
	}
	return i
}

// stateOf says how far rudp can count on a path.
func (t *Transport) stateOf(now ring.Instant, p *peer, a *path) rudp.State {
	if a.relay {
		if a.via != nil && a.via.reached() {
			return rudp.Spare
		}
		return rudp.Dead
	}
	info := a.mon.Info()
	if info.Up && info.Peer == p.inc {
		return rudp.Up
	}
	patience := t.downAfter(a)
	// Not proven yet in this session: it is worth a try for a while.
	if young(now, p, a, patience) {
		return rudp.Up
	}
	// They are heard: either the path flapped and must prove itself, or it works
	// one way only.
	if last := max(info.Heard, a.heard); last != 0 && now.Sub(last) < patience {
		return rudp.Doubt
	}
	return rudp.Dead
}

// tell has rudp know of a path what the monitor knows.
func (t *Transport) tell(now ring.Instant, p *peer, i int, fresh bool) {
	if p.conn == nil {
		return
	}
	a := p.paths[i]
	r := rudp.Report{State: t.stateOf(now, p, a)}
	if r.State == a.told && !fresh {
		return
	}
	a.told = r.State
	if fresh {
		info := a.mon.Info()
		r.RTT, r.Loss, r.Proven = info.Sample, info.Loss, info.Proven
	}
	t.apply(p, p.conn.SetLink(now, i, r))
}

func (t *Transport) tellAll(now ring.Instant, p *peer) {
	for i, a := range p.paths {
		a.told = rudp.Up // as for a new connection
		t.tell(now, p, i, false)
	}
}

func wall(now, at ring.Instant) time.Time {
	return time.Now().Add(-now.Sub(at)).Round(time.Millisecond)
}
