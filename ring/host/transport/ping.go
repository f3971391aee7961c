package transport

import (
	"log/slog"
	"time"

	"rain/ring"
	"rain/ring/link"
)

// downFactor is how many pings must stay unanswered before a path is Down.
const downFactor = 5

// restAfter is how long a path may be silent before it is pinged more rarely,
// and restEvery how rarely at most.
const (
	restAfter = 10 * time.Second
	restEvery = time.Second
)

// youngFor is how long a path that has yet to come up in this session is pinged
// at full speed, however many paths there are: its first pings may be lost while
// the ends learn of each other, and until it is up nothing can move to it.
const youngFor = time.Second

// pace sets how often each path is pinged, so that all together stay within the
// budget. A path on which nothing was heard for long rests.
func (t *Transport) pace(now ring.Instant) {
	n := 0
	for _, p := range t.order {
		if p.session != nil {
			for _, a := range p.direct() {
				if !resting(now, a) {
					n++
				}
			}
		}
	}
	base := max(t.cfg.Link.Every, time.Duration(n)*time.Second/time.Duration(t.cfg.PingBudget))
	t.slop = base / 4 // no path's is longer
	for _, p := range t.order {
		for _, a := range p.direct() {
			every := base
			if resting(now, a) {
				every = min(4*base, max(base, restEvery))
			}
			a.every = every
			t.setPace(now, p, a)
		}
	}
}

// setPace tells the path's monitor. What the peer is told is the pace of a path
// that is up, so that its patience does not shrink while this one hurries.
func (t *Transport) setPace(now ring.Instant, p *peer, a *path) {
	every := a.every
	if young(now, p, a, youngFor) {
		every = min(every, t.cfg.Link.Every)
	}
	a.slop = every / 4
	a.mon.Pace(every, t.downAfter(a))
}

// young reports whether a path has not yet come up in its session, and that
// began less than so long ago.
func young(now ring.Instant, p *peer, a *path, within time.Duration) bool {
	info := a.mon.Info()
	return now.Sub(max(p.adoptedAt, a.born)) < within && (info.Peer != p.inc || info.Transitions == 0)
}

func resting(now ring.Instant, a *path) bool {
	info := a.mon.Info()
	return !info.Up && now.Sub(max(info.Heard, a.born, info.Since)) > restAfter
}

func (t *Transport) downAfter(a *path) time.Duration {
	return max(t.cfg.Link.DownAfter, downFactor*max(a.every, min(a.theirs, restEvery)))
}

// tickLinks pings what is due, all that is nearly due with it, so that a node
// wakes for many paths at once. It is called with each datagram, and looking at
// all paths costs more than the datagram.
func (t *Transport) tickLinks(now ring.Instant) {
	if now < t.linksAt && now < t.linksFrom {
		return
	}
	t.linksAt = now.Add(t.cfg.PingEvery)
	t.linksFrom = t.linksAt
	for _, p := range t.order {
		if p.session == nil {
			continue // a hello must come first
		}
		for i, a := range p.direct() {
			t.linkEffects(now, p, i, a.mon.TickEarly(now, a.slop), false)
		}
	}
	t.linksFrom = max(t.linksFrom, now.Add(t.slop/2)) // what is due may be no ping
}

// takePing gives a ping of the peer to the path's monitor.
func (t *Transport) takePing(now ring.Instant, p *peer, i int, b []byte) {
	every, ping, err := parsePing(b)
	if err != nil {
		t.dropped[dropMalformed]++
		return
	}
	a := p.paths[i]
	if a.theirs != every {
		a.theirs = every
		t.setPace(now, p, a)
	}
	was := a.mon.Info().Proven
	eff := a.mon.Receive(now, ping)
	t.linkEffects(now, p, i, eff, a.mon.Info().Proven > was)
}

// linkEffects does what a monitor says. fresh: it has a new measurement.
func (t *Transport) linkEffects(now ring.Instant, p *peer, i int, eff link.Effects, fresh bool) {
	a := p.paths[i]
	for _, ping := range eff.Send {
		t.frame = appendPing(t.frame[:0], a.every, ping)
		t.sealed = p.session.Seal(t.sealed[:0], t.frame)
		t.out(now, p, a, t.sealed)
	}
	t.linksAt = min(t.linksAt, eff.Wake)
	t.linksFrom = min(t.linksFrom, eff.Wake.Add(-a.slop))
	for _, r := range eff.Reports {
		level, what := slog.LevelInfo, "link up"
		if !r.Up {
			level, what = slog.LevelWarn, "link down"
		}
		t.report(level, what, slog.String("peer", p.id.String()), slog.String("link", t.socks[a.sock].name),
			slog.String("remote", a.remote.String()), slog.String("cause", string(r.Cause)), slog.Uint64("transition", r.Count))
		t.tableAt, t.relaysDue = now, true
	}
	t.tell(now, p, i, fresh)
}

// watch greets a peer of which nothing was heard for long.
func (t *Transport) watch(now ring.Instant, p *peer) {
	silent := true
	for i, a := range p.paths {
		t.tell(now, p, i, false)
		if !a.relay && silent {
			last := max(a.heard, a.mon.Info().Heard)
			silent = last == 0 || now.Sub(last) > 2*t.cfg.PingEvery
		}
	}
	if silent {
		t.hello(now, p)
	}
}
