package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
	"rain/ring/host/seal"
	"rain/ring/rudp"
)

// apply carries out what a connection wants; the events are still to be drained.
func (t *Transport) apply(p *peer, eff rudp.Effects) {
	from := ring.Member{ID: p.id, Inc: p.inc}
	for _, m := range eff.Deliver {
		p.queue.events = append(p.queue.events, event{from: from, msg: m, isMsg: true})
	}
	for _, v := range eff.Verdicts {
		p.queue.events = append(p.queue.events, event{ref: v.Ref, ok: v.OK})
	}
	if len(eff.Send) > 0 {
		now := clock.Now()
		for _, d := range eff.Send {
			if d.Link < len(p.paths) {
				t.sealed = p.session.Seal(t.sealed[:0], d.Packet)
				t.transmit(now, p, d.Link)
			}
		}
	}
	p.wake = eff.Wake
}

// transmit sends t.sealed on a path, through the faults that were asked for.
func (t *Transport) transmit(now ring.Instant, p *peer, i int) {
	a := p.paths[i]
	if f, ok := t.fault(p, a); ok {
		if f.lost(f.CutOut) {
			t.dropped[dropFault]++
			return
		}
		if f.Delay > 0 {
			t.hold(delayed{at: now.Add(f.Delay), sock: a.sock, peer: a.remote, b: t.sealed})
			return
		}
	}
	t.write(a.sock, a.remote, t.sealed)
}

func (t *Transport) write(sock int, to netip.AddrPort, b []byte) {
	if t.socks[sock].w.send(b, to) != nil {
		t.dropped[dropSend]++
	}
}

// read is the goroutine of a socket.
func (t *Transport) read(ctx context.Context, sock int) {
	buf := make([]byte, 64<<10) // room for too much: some systems answer that with an error
	for {
		n, from, err := t.socks[sock].r.receive(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Some systems report here that an earlier datagram found nobody.
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Millisecond):
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		t.receive(sock, from, buf[:n])
	}
}

// receive takes one datagram from anybody.
func (t *Transport) receive(sock int, src netip.AddrPort, b []byte) {
	if len(b) > MaxDatagram {
		t.count(dropOversize)
		return
	}
	d, err := t.look(b) // before the lock: it costs strangers' time, not the token's
	t.mu.Lock()
	defer t.unlock()
	t.take(sock, src, b, d, err, false)
}

// outside is what a datagram says on its outside.
type outside struct {
	isHello  bool
	hello    seal.Hello
	from, to ring.Member
}

func (t *Transport) look(b []byte) (d outside, err error) {
	if d.isHello = seal.IsHello(b); d.isHello {
		d.hello, err = t.keys.OpenHello(b)
		return d, err
	}
	d.from, d.to, err = seal.Peek(b)
	return d, err
}

// take takes a datagram that came now, or was held back by a fault and is late.
func (t *Transport) take(sock int, src netip.AddrPort, b []byte, d outside, err error, late bool) {
	switch {
	case d.isHello && err != nil:
		t.dropped[reasonOf(err)]++
		return
	case d.isHello:
		t.takeHello(sock, src, b, d.hello, late)
		return
	case err != nil:
		t.dropped[dropMalformed]++
		return
	}
	from, to := d.from, d.to
	p := t.peers[from.ID]
	if p == nil || to.ID != t.me.ID {
		t.dropped[dropUnknown]++
		return
	}
	if from.Inc < p.inc || to != t.me {
		t.dropped[dropStale]++
		return
	}
	i := p.via(sock, src)
	if i < 0 {
		t.dropped[dropUnknown]++
		return
	}
	if t.intercept(p, i, src, b, late) {
		return
	}
	session := p.session
	if from.Inc > p.inc {
		session = t.keys.Session(t.me, from) // its hello was lost, or is behind
	}
	plain, err := session.Open(t.plain[:0], b)
	if err != nil {
		t.dropped[reasonOf(err)]++
		return
	}
	t.plain = plain
	now := clock.Now()
	if from.Inc > p.inc {
		t.adopt(now, p, from.Inc, session)
	}
	if !p.configured {
		p.paths[i].remote = src
	}
	eff, err := p.conn.Receive(now, i, plain)
	if err != nil {
		t.dropped[dropMalformed]++
	}
	t.apply(p, eff)
	t.drain(&p.queue)
}

func (t *Transport) count(r reason) {
	t.mu.Lock()
	t.dropped[r]++
	t.mu.Unlock()
}

// takeHello learns who is there, and answers those who know less than the
// truth of this node or of themselves.
func (t *Transport) takeHello(sock int, src netip.AddrPort, b []byte, h seal.Hello, late bool) {
	p := t.peers[h.From.ID]
	if h.To != t.me.ID || h.From.ID == t.me.ID || p == nil && len(t.order) >= MaxPeers {
		t.dropped[dropUnknown]++
		return
	}
	now := clock.Now()
	if p == nil {
		p = t.addPeer(h.From.ID)
		t.report(slog.LevelInfo, "peer learned from its hello", slog.String("peer", p.id.String()), slog.String("remote", src.String()))
	}
	i := p.via(sock, src)
	if i < 0 && !p.configured && len(p.paths) < rudp.MaxLinks {
		i = len(p.paths)
		t.setPaths(now, p, append(slices.Clone(p.paths), &path{sock: sock, remote: src, since: time.Now()}))
	}
	if i < 0 {
		t.dropped[dropUnknown]++
		return
	}
	if t.intercept(p, i, src, b, late) {
		return
	}
	// A hello may be a replay: one of a known incarnation must move nothing.
	if h.From.Inc > p.inc {
		if !p.configured {
			p.paths[i].remote = src
		}
		t.adopt(now, p, h.From.Inc, t.keys.Session(t.me, h.From))
	}
	if h.Known > t.me.Inc && t.cfg.OnOutdated != nil {
		known := h.Known
		t.misc.events = append(t.misc.events, event{news: func() { t.cfg.OnOutdated(known) }})
		t.urgent = true
	}
	if (h.Known < t.me.Inc || h.From.Inc < p.inc) && now.Sub(p.answeredAt) >= helloPause {
		p.answeredAt = now
		t.helloOn(now, p, i)
	}
	t.drain(&p.queue)
}

// tick does what is due.
func (t *Transport) tick() {
	t.mu.Lock()
	defer t.unlock()
	now := clock.Now()
	t.armed, t.urgent = 0, false
	house := now >= t.houseAt
	if house {
		t.houseAt = now.Add(t.cfg.PingEvery / 2)
	}
	for _, p := range t.order {
		if p.wake != 0 && p.wake <= now {
			t.apply(p, p.conn.Tick(now))
		}
		t.expirePending(now, p)
		if house {
			t.watch(now, p)
		}
	}
	t.flushDelayed(now)
	for i := 0; i < len(t.order); i++ { // may grow while a sink is called
		t.drain(&t.order[i].queue)
	}
	t.drain(&t.misc)
}
