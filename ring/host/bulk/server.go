package bulk

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/ring/host/bulk/bundle"
)

// Handler serves one connection of a service. The connection is closed when it
// returns. When the server stops, ctx is done and the connection closed.
type Handler func(ctx context.Context, peer ring.NodeID, conn net.Conn)

// Server accepts connections and hands them to the services.
type Server struct {
	cfg       Config
	proof     proofs
	log       *slog.Logger
	atDoor    chan struct{} // one for each stranger's request
	listeners []net.Listener
	proven    chan struct{} // one for each connection of a proven peer

	mu       sync.Mutex
	services map[string]Handler
	bundles  map[token]joinable
	conns    map[net.Conn]bool
	pending  map[netip.Addr]int // handshakes by address
	nPending int
	stopped  bool

	accepted, refused, unproven, unknown atomic.Uint64
}

// Stats are a server's counters since its start, but Open, which is now.
type Stats struct {
	Open           int
	Accepted       uint64 // connections that reached a service
	Refused        uint64 // over a limit
	Unproven       uint64 // did not prove the cluster key in time, or are no peers at all
	UnknownService uint64
}

// NewServer listens. The caller must call Run, or Close if it does not come to that.
func NewServer(cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: log, atDoor: make(chan struct{}, maxAtDoor),
		proven:   make(chan struct{}, cfg.MaxConns),
		services: map[string]Handler{}, bundles: map[token]joinable{}, conns: map[net.Conn]bool{}, pending: map[netip.Addr]int{},
	}
	if err := s.SetKeys(cfg.Key, cfg.OldKeys...); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive()}
	for _, a := range cfg.Listen {
		l, err := lc.Listen(context.Background(), "tcp", a.String())
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("bulk: %w; is another node running with this link address?", err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// keepAlive finds a host that is gone within half a minute.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
}

// Addrs are the addresses the server listens at, in the order of Config.Listen.
func (s *Server) Addrs() []netip.AddrPort {
	var l []netip.AddrPort
	for _, x := range s.listeners {
		l = append(l, x.Addr().(*net.TCPAddr).AddrPort())
	}
	return l
}

// Handle registers a service. A name that is taken or has not 1 to MaxService
// bytes is a bug of the caller.
func (s *Server) Handle(service string, h func(ctx context.Context, peer ring.NodeID, conn net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !validService(service) || s.services[service] != nil {
		panic(fmt.Sprintf("bulk: service %q has no proper name or exists already", service))
	}
	s.services[service] = h
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Open: len(s.proven), Accepted: s.accepted.Load(), Refused: s.refused.Load(),
		Unproven: s.unproven.Load(), UnknownService: s.unknown.Load(),
	}
}

// Close stops listening and closes all connections. It waits for nothing: Run does.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.Close()
	}
}

// Run serves until ctx is done, then closes all connections, waits for the
// handlers and returns ctx's cause. Another error means that a listener failed.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(context.Canceled)
	defer s.Close()
	for _, l := range s.listeners {
		wg.Go(func() { cancel(s.accept(ctx, l, &wg)) })
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// accept takes connections until the listener is closed.
func (s *Server) accept(ctx context.Context, l net.Listener, wg *sync.WaitGroup) error {
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			wg.Go(func() { s.serve(ctx, conn) })
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("bulk: %s: %w", l.Addr(), err)
		default: // out of descriptors, or a connection that was reset already
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("cannot accept a connection", slog.Any("address", l.Addr()), slog.Any("err", err))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
		}
	}
}

// serve sees one connection from its first byte to its last.
func (s *Server) serve(ctx context.Context, raw net.Conn) {
	host := raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	raw = newGated(raw, s.cfg.Gate, 0, raw.LocalAddr().(*net.TCPAddr).AddrPort())
	defer raw.Close()
	if !s.enter(raw, host) {
		s.refused.Add(1)
		return
	}
	defer s.leave(raw)
	g, err := s.greet(ctx, raw)
	if errors.Is(err, errStranger) {
		err = s.answerDoor(ctx, g.conn, raw) // as a stranger to the end
	}
	s.greeted(host)
	if err == nil && g.handler == nil && g.joins == nil {
		return
	}
	if err != nil {
		s.log.Debug("a connection came to nothing", slog.Any("from", host), slog.Any("err", err))
		return
	}
	defer func() { <-s.proven }()
	s.accepted.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	switch {
	case g.joins != nil:
		_ = g.joins.Carry(g.conn, raw) // the stream goes on, or says itself why not
	case g.stream != nil:
		s.serveBundle(ctx, g, raw)
	default:
		g.conn.below.pacer = s.cfg.Pacer
		g.handler(ctx, g.peer, g.conn)
		g.conn.Close()
	}
}

// errStranger says that the peer is at the door.
var errStranger = errors.New("a stranger with an invitation")

// joinable is a bundle that its peer may add connections to.
type joinable struct {
	peer   ring.NodeID
	stream *bundle.Stream
}

// guest is a connection that was admitted.
type guest struct {
	conn    *sealedConn
	peer    ring.NodeID
	handler Handler
	joins   *bundle.Stream // it is one more of this bundle
	stream  *bundle.Stream // it is the first one of this bundle
	token   token
}

// serveBundle has a service serve a bundle that begins with one connection.
func (s *Server) serveBundle(ctx context.Context, g guest, raw net.Conn) {
	var first sync.WaitGroup
	first.Go(func() { _ = g.stream.Carry(g.conn, raw) }) // the stream goes on, or says itself why not
	stop := context.AfterFunc(ctx, func() { g.stream.Abort(net.ErrClosed) })
	g.handler(ctx, g.peer, g.stream)
	_ = g.stream.Close() // never fails
	stop()
	s.mu.Lock()
	delete(s.bundles, g.token)
	s.mu.Unlock()
	first.Wait()
}

// greet has the peer prove the key and name its service. On success the caller
// owns a place in s.proven.
func (s *Server) greet(ctx context.Context, raw net.Conn) (g guest, err error) {
	if err := raw.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout)); err != nil {
		return g, err
	}
	below, proof := newRecords(raw), s.proof.Load()
	g.conn = &sealedConn{Conn: tls.Server(below, proof.server), below: below}
	req, err := s.prove(ctx, g.conn, proof.id, &g.peer)
	if errors.Is(err, errStranger) {
		return g, err
	}
	if err != nil {
		s.unproven.Add(1)
		return g, err
	}
	isFrom(raw, g.peer)
	reply := []byte{s.admit(&g, req)}
	if g.stream != nil {
		reply = append(reply, g.token[:]...)
	}
	_, err = g.conn.Write(reply)
	if reply[0] != replyGo {
		return g, errors.Join(fmt.Errorf("node %s, service %q: reply %d", g.peer, req.service, reply[0]), err, g.conn.Close())
	}
	if err = errors.Join(err, raw.SetDeadline(time.Time{})); err != nil {
		s.mu.Lock()
		delete(s.bundles, g.token)
		s.mu.Unlock()
		<-s.proven
	}
	return g, err
}

// admit decides on a request. With replyGo a place in s.proven is taken.
func (s *Server) admit(g *guest, req request) byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.handler = s.services[req.service]
	if j, ok := s.bundles[req.token]; req.join && ok && j.peer == g.peer {
		g.joins = j.stream
	}
	if g.handler == nil && g.joins == nil {
		s.unknown.Add(1)
		return replyUnknown
	}
	select {
	case s.proven <- struct{}{}:
	default:
		s.refused.Add(1)
		return replyBusy
	}
	if req.bundled {
		rand.Read(g.token[:]) // never fails
		g.stream = bundle.New(bundleConfig(s.cfg.Pacer), g.conn)
		s.bundles[g.token] = joinable{g.peer, g.stream}
	}
	return replyGo
}

// prove does the handshake and reads what the peer wants.
func (s *Server) prove(ctx context.Context, conn *sealedConn, id *identity, peer *ring.NodeID) (request, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return request{}, err
	}
	if conn.ConnectionState().NegotiatedProtocol == alpnJoin {
		return request{}, errStranger
	}
	var err error
	if *peer, err = id.peer(conn.ConnectionState()); err != nil {
		return request{}, err
	}
	return readRequest(conn)
}

// enter admits a connection to the handshake, if no limit forbids it.
func (s *Server) enter(c net.Conn, host netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.nPending >= s.cfg.MaxHandshakes || s.pending[host] >= s.cfg.MaxPerHost {
		return false
	}
	s.conns[c] = true
	s.nPending++
	s.pending[host]++
	return true
}

// greeted ends a connection's time as a stranger.
func (s *Server) greeted(host netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nPending--
	if s.pending[host]--; s.pending[host] == 0 {
		delete(s.pending, host)
	}
}

func (s *Server) leave(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
