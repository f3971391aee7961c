package transport

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
	"rain/ring/host/seal"
	"rain/ring/rudp"
)

// event is something for the sink, or for the log.
type event struct {
	from  ring.Member
	msg   []byte // with from: a message
	ref   uint64 // not 0: a verdict
	ok    bool
	news  func() // not nil: call it
	isMsg bool
}

// queue keeps events in order while one goroutine delivers them without the lock.
type queue struct {
	events []event
	busy   bool
}

// drain delivers a queue. The lock is held at both ends, not between.
func (t *Transport) drain(q *queue) {
	if q.busy {
		return // that goroutine goes on with what is new
	}
	q.busy = true
	for len(q.events) > 0 {
		batch := q.events
		q.events = nil
		t.mu.Unlock()
		for _, e := range batch {
			switch {
			case e.isMsg:
				t.sink.Message(e.from, e.msg)
			case e.news != nil:
				e.news()
			default:
				t.sink.Verdict(e.ref, e.ok)
			}
		}
		t.mu.Lock()
		if q.events == nil {
			clear(batch)
			q.events = batch[:0]
		}
	}
	q.busy = false
}

// report has the timer's goroutine write to the log: a slow disk must not hold
// the lock, nor a datagram.
func (t *Transport) report(level slog.Level, what string, attrs ...slog.Attr) {
	t.misc.events = append(t.misc.events, event{news: func() {
		t.log.LogAttrs(context.Background(), level, what, attrs...)
	}})
	t.arm(1)
}

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
	t.arm(p.wake)
}

// transmit sends t.sealed on a path, through the faults that were asked for.
func (t *Transport) transmit(now ring.Instant, p *peer, i int) {
	a := p.paths[i]
	if f, ok := t.fault(p, a); ok {
		if f.CutOut || f.Drop > 0 && rand.Float64()*100 < f.Drop {
			t.dropped[dropFault]++
			return
		}
		if f.Delay > 0 {
			if len(t.delayed) >= maxDelayed {
				t.dropped[dropFault]++
				return
			}
			at := now.Add(f.Delay)
			t.delayed = append(t.delayed, delayed{at: at, sock: a.sock, to: a.remote, b: slices.Clone(t.sealed)})
			t.arm(at)
			return
		}
	}
	t.write(now, a.sock, a.remote, t.sealed)
}

// write sends one datagram. A socket whose device takes nothing holds us up for
// a moment only: the other links must go on.
func (t *Transport) write(now ring.Instant, sock int, to netip.AddrPort, b []byte) {
	s := t.socks[sock]
	if s.deadline.Sub(now) < writePatience/2 {
		s.deadline = now.Add(writePatience)
		_ = s.conn.SetWriteDeadline(time.Now().Add(writePatience)) // fails only when closed, as the write will
	}
	if _, err := s.conn.WriteToUDPAddrPort(b, to); err != nil {
		t.dropped[dropSend]++
	}
}

// read is the goroutine of a socket.
func (t *Transport) read(ctx context.Context, sock int) {
	buf := make([]byte, 64<<10) // room for too much: some systems answer that with an error
	for {
		n, from, err := t.socks[sock].conn.ReadFromUDPAddrPort(buf)
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
	if seal.IsHello(b) {
		t.receiveHello(sock, src, b)
		return
	}
	from, to, err := seal.Peek(b)
	if err != nil {
		t.count(dropMalformed)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
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
	if f, ok := t.fault(p, p.paths[i]); ok && f.CutIn {
		t.dropped[dropFault]++
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

// receiveHello learns who is there, and answers those who know less than the
// truth of this node or of themselves.
func (t *Transport) receiveHello(sock int, src netip.AddrPort, b []byte) {
	h, err := t.keys.OpenHello(b)
	if err != nil {
		t.count(reasonOf(err))
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
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
	if f, ok := t.fault(p, p.paths[i]); ok && f.CutIn {
		t.dropped[dropFault]++
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
		t.arm(1)
	}
	if (h.Known < t.me.Inc || h.From.Inc < p.inc) && now.Sub(p.answeredAt) >= helloPause {
		p.answeredAt = now
		t.helloOn(now, p, i)
	}
	t.drain(&p.queue)
}

// tick does what is due, and sets the timer for what is next.
func (t *Transport) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := clock.Now()
	t.armed = 0
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
	t.arm(t.houseAt)
	for _, p := range t.order {
		t.arm(p.wake)
		t.arm(p.pendingWake())
	}
	for _, d := range t.delayed {
		t.arm(d.at)
	}
}
