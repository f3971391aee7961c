// Package transport carries the ring's messages between nodes: sealed datagrams
// (rain/ring/host/seal) with rain/ring/rudp over one UDP socket for each local
// link. It is a shell: it owns sockets, time and a few goroutines.
//
// Guarantees: what Sink.Message is told was sealed by that member, an
// incarnation of a holder of the cluster key, for this incarnation of this
// node; it comes at most once, whole, and in the order in which it was sent.
// Each Send with a ref gets one verdict while Run runs; see rudp for what it
// means. Datagrams that are forged, replayed, malformed, oversized, of a foreign
// cluster or of an old incarnation are counted by reason and get no answer.
//
// The incarnation of a peer that is known only rises. It is learned from hellos,
// or from the first sealed datagram of a newer one. A peer that SetPeer has not
// named is learned from its hello, with the address that it came from: whoever
// holds the cluster key is trusted. So is a new address of a peer, from the first
// hello of a new incarnation.
//
// Limits: MaxPeers peers, MaxPaths paths a peer, MaxDatagram bytes a
// datagram, maxPending messages to a peer whose incarnation is not known.
// A datagram that a socket does not take at once is dropped.
//
// Paths: every local link leads to every address of a peer of its family, up to
// MaxPaths, each watched by a rain/ring/link.Monitor: both ends see one history.
// Datagrams go over the fastest that are Up. Where none is, they go by a
// neighbour that reaches the peer (Config.Relays), sealed for the peer all the
// way, over one hop. When all paths are known to be dead a message fails at once.
// A link should listen at one address: with a wildcard the source of what it
// sends is up to the system, and a path is only Up if it comes from the address
// that the peer knows.
package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
	"rain/ring/host/seal"
	"rain/ring/rudp"
)

// Bounds of what strangers and peers can cause.
const (
	MaxPeers     = 256
	MaxDatagram  = 1472 // what fits an Ethernet frame over IPv4
	SafeDatagram = 1232 // what fits a packet of 1280 bytes over IPv6; no IPv6 network has a smaller MTU
	MaxRelays    = rudp.MaxLinks - MaxPaths
	maxPending   = 256
	socketBuffer = 4 << 20
)

// Sink takes what comes. Its methods are called by the transport's goroutines
// while Run runs, for one peer one at a time and in order. They must not block:
// the next datagram waits for them. They may call the Transport.
type Sink interface {
	// Message is called with a message that is the sink's from now on.
	Message(from ring.Member, msg []byte)
	Verdict(ref uint64, ok bool)
}

// Transport is one node's end. All methods may be called from any goroutine.
type Transport struct {
	cfg   Config
	log   *slog.Logger
	keys  atomic.Pointer[seal.Keyring]
	socks []*socket
	waker *clock.Waker // calls tick
	sink  Sink

	mu        sync.Mutex
	me        ring.Member
	peers     map[ring.NodeID]*peer
	order     []*peer      // the same, as they came
	armed     ring.Instant // what the waker is set to; 0: off
	houseAt   ring.Instant // next housekeeping; 0: not running
	urgent    bool         // there is something to drain that no reader will
	closed    bool
	faults    map[faultKey]Fault
	faultNews chan struct{} // closed when they change
	delayed   []delayed
	delayedAt ring.Instant // the soonest of them; 0: none
	dropped   [reasons]uint64
	misc      queue         // verdicts and news that belong to no peer
	linksAt   ring.Instant  // the next ping is due
	linksFrom ring.Instant  // one may go so early, if the node is awake anyway
	slop      time.Duration // how early that is at most
	tableAt   ring.Instant  // the next table is due
	tableSent ring.Instant
	tableRoom float64      // tables that may go at once
	tableFill ring.Instant // when that was reckoned
	tableNo   uint64
	relaysDue bool // relays are to be chosen anew
	carried   relayed

	plain, inner, sealed, frame, outer []byte // scratch
	two                                []*path

	faulty atomic.Bool // len(faults) > 0
}

type socket struct {
	name string
	addr netip.AddrPort // as bound
	conn *net.UDPConn
	w    *writer
	r    *reader
}

// Open binds the sockets. An address in use is an error that names it. The
// transport must be run, or closed.
func Open(cfg Config, me ring.Member, log *slog.Logger) (*Transport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	keys, err := seal.NewKeyring(append([][]byte{cfg.Key}, cfg.OldKeys...)...)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	t := &Transport{
		cfg: cfg, log: log, me: me,
		peers: map[ring.NodeID]*peer{}, faults: map[faultKey]Fault{}, faultNews: make(chan struct{}),
	}
	t.keys.Store(keys)
	for _, l := range cfg.Links {
		network := "udp"
		if l.Listen.Addr().Is4() {
			network = "udp4" // else 0.0.0.0 would listen on IPv6 as well
		}
		conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(l.Listen))
		if err != nil {
			t.closeSockets()
			return nil, fmt.Errorf("transport: link %q cannot listen on %s (UDP): %w; is another node running there, or the address not on this host?", l.Name, l.Listen, err)
		}
		// A burst of a whole token must fit; the kernel gives less if it likes.
		_ = conn.SetReadBuffer(socketBuffer)
		_ = conn.SetWriteBuffer(socketBuffer)
		t.socks = append(t.socks, &socket{name: l.Name, conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()})
		s := t.socks[len(t.socks)-1]
		if s.w, err = newWriter(conn, l.Listen.Addr().Is4()); err == nil {
			s.r, err = newReader(conn)
		}
		if err != nil {
			t.closeSockets()
			return nil, fmt.Errorf("transport: link %q: %w", l.Name, err)
		}
	}
	if t.waker, err = clock.NewWaker(t.tick); err != nil {
		t.closeSockets()
		return nil, fmt.Errorf("transport: %w", err)
	}
	return t, nil
}

// Addrs are the addresses of the local links, as bound.
func (t *Transport) Addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range t.socks {
		out = append(out, s.addr)
	}
	return out
}

func (t *Transport) closeSockets() {
	for _, s := range t.socks {
		s.conn.Close()
	}
}

// Close frees what Open took. Run does it, too.
func (t *Transport) Close() {
	t.mu.Lock()
	was := t.closed
	t.closed = true
	t.mu.Unlock()
	if !was {
		t.closeSockets()
		t.waker.Close()
	}
}

// Run works until ctx ends, and returns its error. Once only.
func (t *Transport) Run(ctx context.Context, sink Sink) error {
	t.sink = sink
	var wg sync.WaitGroup
	defer wg.Wait()
	defer t.Close() // ends the readers
	for i := range t.socks {
		wg.Go(func() { t.read(ctx, i) })
	}
	t.mu.Lock()
	t.houseAt = clock.Now()
	t.unlock()
	<-ctx.Done()
	return ctx.Err()
}

// SetMe starts all sessions anew under another incarnation. What was on its way
// has failed. Messages for the old incarnation that a goroutine of Run is just
// handing to the sink may still reach it; later ones do not.
func (t *Transport) SetMe(me ring.Member) {
	t.mu.Lock()
	defer t.unlock()
	if t.me == me {
		return
	}
	t.me = me
	now := clock.Now()
	for _, p := range t.order {
		for _, a := range p.direct() {
			a.mon.Restart(now, me.Inc)
			a.born = now
		}
		p.queue.forgetMessages()
		if p.inc != 0 {
			t.adopt(now, p, p.inc, t.keys.Load().Session(me, ring.Member{ID: p.id, Inc: p.inc}))
		}
		t.hello(now, p)
	}
}

// SetPeer tells where a peer listens. Its order of addresses is that of its
// links.
func (t *Transport) SetPeer(id ring.NodeID, addrs []netip.AddrPort) {
	t.mu.Lock()
	defer t.unlock()
	if id == t.me.ID || id == 0 {
		return
	}
	p := t.peers[id]
	if p == nil {
		p = t.addPeer(id)
	}
	p.configured = true
	now := clock.Now()
	t.setPaths(now, p, t.pair(addrs))
	if p.inc == 0 && t.houseAt != 0 {
		t.hello(now, p)
	}
}

// Send sends a message; msg belongs to the transport from now on. To.Inc 0
// means whichever incarnation is known. With ref 0 no verdict is wanted; else
// it comes later, never from within Send.
func (t *Transport) Send(to ring.Member, msg []byte, ref uint64) {
	t.mu.Lock()
	defer t.unlock()
	p := t.peers[to.ID]
	if p == nil || len(p.paths) == 0 || to.Inc != 0 && to.Inc < p.inc || len(p.pending) >= maxPending {
		t.fail(&t.misc, ref)
		return
	}
	now := clock.Now()
	if p.inc != 0 && (to.Inc == 0 || to.Inc == p.inc) {
		t.apply(p, p.conn.Send(now, ref, msg))
		if len(p.queue.events) > 0 && !p.queue.busy {
			t.urgent = true // refused at once; the waker's goroutine tells
		}
		return
	}
	p.pending = append(p.pending, pending{inc: to.Inc, ref: ref, msg: msg, until: now.Add(t.cfg.SendTimeout)})
	if now >= p.helloAt {
		t.hello(now, p)
	}
}

// fail queues a verdict of failure, and has the waker's goroutine deliver it.
func (t *Transport) fail(q *queue, ref uint64) {
	if ref != 0 {
		q.events = append(q.events, event{ref: ref})
		t.urgent = true
	}
}

// unlock sets the waker for what is due next, and lets go of the lock. Setting
// it later, once an acknowledgement has come, costs less than an idle wake-up.
func (t *Transport) unlock() {
	defer t.mu.Unlock()
	if t.houseAt == 0 || t.closed {
		return
	}
	at := min(t.houseAt, t.linksAt)
	if t.cfg.Relays > 0 {
		at = min(at, t.tableAt)
	}
	if t.urgent {
		at = 1
	}
	for _, p := range t.order {
		for _, due := range [...]ring.Instant{p.wake, p.pendingWake()} {
			if due != 0 && due < at {
				at = due
			}
		}
	}
	if t.delayedAt != 0 && t.delayedAt < at {
		at = t.delayedAt
	}
	if at = max(at, 1); at != t.armed {
		t.armed = at
		t.waker.Set(at)
	}
}
