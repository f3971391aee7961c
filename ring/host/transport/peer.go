package transport

import (
	"log/slog"
	"time"

	"rain/ring"
	"rain/ring/host/seal"
	"rain/ring/rudp"
)

// Hellos to one peer: again after helloRetry while messages wait for its
// incarnation, each time after twice as long up to Config.PingEvery, until
// something is heard of it; and answered at most every helloPause.
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
	configured bool    // its addresses are from SetPeer
	paths      []*path // nDirect direct ones, then those by relay
	nDirect    int
	wake       ring.Instant // of conn
	pending    []pending
	helloAt    ring.Instant // no hello for pending messages before
	helloWait  time.Duration
	answeredAt ring.Instant // last answer to a hello
	queue      queue

	table     []row // whom the peer says it reaches
	tableNo   uint64
	tableAt   ring.Instant
	relayRoom float64 // datagrams that may still be carried for it
	relayAt   ring.Instant
	byRelay   bool
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
	for range t.cfg.Relays {
		p.paths = append(p.paths, &path{relay: true})
	}
	t.peers[id] = p
	t.order = append(t.order, p)
	return p
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
	p.helloWait = 0
	p.table, p.tableNo, p.tableAt = nil, 0, 0
	t.apply(p, conn.Tick(now))
	t.tellAll(now, p)
	for _, a := range p.direct() {
		t.setPace(now, p, a)
	}
	t.linksAt, t.relaysDue = now, true
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
	p.helloWait = min(max(2*p.helloWait, helloRetry), max(t.cfg.PingEvery, helloRetry))
	p.helloAt = now.Add(p.helloWait)
	for i := range p.direct() {
		t.helloOn(now, p, i)
	}
	if p.upPaths() == 0 {
		t.greetByRelay(now, p)
	}
}

func (t *Transport) helloOn(now ring.Instant, p *peer, i int) {
	t.sealed = t.keys.Load().SealHello(t.sealed[:0], seal.Hello{From: t.me, To: p.id, Known: p.inc})
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
