package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
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

// transmit sends t.sealed on a path.
func (t *Transport) transmit(now ring.Instant, p *peer, i int) {
	if a := p.paths[i]; a.relay {
		t.sendByRelay(now, p, a.via, t.sealed)
	} else {
		t.out(now, p, a, t.sealed)
	}
}

// out sends a datagram on a direct path, through the faults that were asked for.
func (t *Transport) out(now ring.Instant, p *peer, a *path, b []byte) {
	if f, ok := t.fault(p, a); ok {
		if f.lost(f.CutOut) {
			t.dropped[dropFault]++
			return
		}
		if f.Delay > 0 {
			t.hold(delayed{at: now.Add(f.Delay), sock: a.sock, peer: a.remote, b: b})
			return
		}
	}
	t.write(a.sock, a.remote, b)
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
	t.take(arrived{sock: sock, src: src, b: b}, d, err)
}

// outside is what a datagram says on its outside.
type outside struct {
	isHello  bool
	hello    seal.Hello
	from, to ring.Member
}

func (t *Transport) look(b []byte) (d outside, err error) {
	if d.isHello = seal.IsHello(b); d.isHello {
		d.hello, err = t.keys.Load().OpenHello(b)
		return d, err
	}
	d.from, d.to, err = seal.Peek(b)
	return d, err
}

// arrived is a datagram that came in.
type arrived struct {
	sock int
	src  netip.AddrPort
	b    []byte
	late bool  // a fault held it back
	by   *peer // the neighbour that passed it on, and then sock and src mean nothing
}

// take takes a datagram that came now, or was held back by a fault and is late.
func (t *Transport) take(in arrived, d outside, err error) {
	switch {
	case d.isHello && err != nil:
		t.dropped[reasonOf(err)]++
		return
	case d.isHello:
		t.takeHello(in, d.hello)
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
	now := clock.Now()
	i, exact := t.arrival(now, p, in)
	if i < 0 {
		t.dropped[dropUnknown]++
		return
	}
	if in.by == nil && t.intercept(p, i, in) {
		return
	}
	session := p.session
	if from.Inc > p.inc {
		session = t.keys.Load().Session(t.me, from) // its hello was lost, or is behind
	}
	scratch := &t.plain
	if in.by != nil {
		scratch = &t.inner // the plain one holds what was relayed
	}
	plain, err := session.Open((*scratch)[:0], in.b)
	if err != nil {
		t.dropped[reasonOf(err)]++
		return
	}
	*scratch = plain
	if from.Inc > p.inc {
		t.adopt(now, p, from.Inc, session)
	}
	if in.by == nil {
		if !p.configured && !exact {
			if i, exact = t.learn(now, p, in.sock, in.src), true; i < 0 {
				return
			}
		}
		p.paths[i].heard = now
	} else {
		i = t.relayProves(now, p, in.by)
	}
	t.open(now, p, i, exact, in, plain)
}

// arrival is the path on which a datagram of a peer came; -1: none.
func (t *Transport) arrival(now ring.Instant, p *peer, in arrived) (i int, exact bool) {
	if in.by != nil {
		return t.relayPath(now, p, in.by), true
	}
	return p.via(in.sock, in.src)
}

// open takes what was in a sealed datagram.
func (t *Transport) open(now ring.Instant, p *peer, i int, exact bool, in arrived, plain []byte) {
	kind := byte(0)
	if len(plain) > 0 {
		kind = plain[0]
	}
	switch {
	case kind < kindRudp:
		if a := p.paths[i]; a.told == rudp.Dead {
			t.tell(now, p, i, false) // it is not quite dead
		}
		eff, err := p.conn.Receive(now, i, plain)
		if err != nil {
			t.dropped[dropMalformed]++
		}
		t.apply(p, eff)
	case in.by != nil:
		t.dropped[dropMalformed]++ // only packets are relayed
	case kind == kindPing && exact:
		t.takePing(now, p, i, plain)
	case kind == kindPing:
		t.dropped[dropUnknown]++ // not from an address of its path
	case kind == kindTable:
		t.takeTable(now, p, plain)
	case kind == kindRelay:
		t.carry(now, p, plain)
	case kind == kindRelayed && len(plain) > 1:
		inner := plain[1:]
		d, err := t.look(inner)
		t.take(arrived{b: inner, by: p}, d, err)
		return
	default:
		t.dropped[dropMalformed]++
	}
	t.tickLinks(now) // a wake-up less, later
	t.drain(&p.queue)
}

func (t *Transport) count(r reason) {
	t.mu.Lock()
	t.dropped[r]++
	t.mu.Unlock()
}

// takeHello learns who is there, and answers those who know less than the
// truth of this node or of themselves.
func (t *Transport) takeHello(in arrived, h seal.Hello) {
	p := t.peers[h.From.ID]
	if h.To != t.me.ID || h.From.ID == t.me.ID || p == nil && len(t.order) >= MaxPeers {
		t.dropped[dropUnknown]++
		return
	}
	now := clock.Now()
	if p == nil {
		p = t.addPeer(h.From.ID)
		t.report(slog.LevelInfo, "peer learned from its hello", slog.String("peer", p.id.String()), slog.String("remote", in.src.String()))
	}
	i, exact := t.arrival(now, p, in)
	// A node that comes back may have moved; a hello of a known incarnation may be
	// a replay, and moves nobody.
	if moved := p.configured && !exact && h.From.Inc > p.inc; in.by == nil && (moved || i < 0 && !p.configured) {
		i = t.learn(now, p, in.sock, in.src)
	}
	if i < 0 {
		t.dropped[dropUnknown]++
		return
	}
	if in.by == nil && t.intercept(p, i, in) {
		return
	}
	// A hello may be a replay: one of a known incarnation must move nothing.
	if h.From.Inc > p.inc {
		if !p.configured && in.by == nil {
			p.paths[i].remote = in.src
		}
		t.adopt(now, p, h.From.Inc, t.keys.Load().Session(t.me, h.From))
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
		t.pace(now)
	}
	t.tickLinks(now)
	t.assignRelays(now)
	t.sendTables(now)
	for _, p := range t.order {
		if p.wake != 0 && p.wake <= now {
			t.apply(p, p.conn.Tick(now))
			t.rotateRelays(now, p)
		}
		t.expirePending(now, p)
		if house {
			t.watch(now, p)
		}
	}
	if house {
		t.noteRelays()
	}
	t.flushDelayed(now)
	for i := 0; i < len(t.order); i++ { // may grow while a sink is called
		t.drain(&t.order[i].queue)
	}
	t.drain(&t.misc)
}
