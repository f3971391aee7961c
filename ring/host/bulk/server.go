package bulk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
)

// Handler serves one connection of a service. The connection is closed when it
// returns. When the server stops, ctx is done and the connection closed.
type Handler func(ctx context.Context, peer ring.NodeID, conn net.Conn)

// Server accepts connections and hands them to the services.
type Server struct {
	cfg       Config
	id        *identity
	tls       *tls.Config
	log       *slog.Logger
	listeners []net.Listener
	proven    chan struct{} // one for each connection of a proven peer

	mu       sync.Mutex
	services map[string]Handler
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
	id, err := newIdentity(cfg.Key, cfg.ID)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, id: id, tls: id.server(), log: log,
		proven:   make(chan struct{}, cfg.MaxConns),
		services: map[string]Handler{}, conns: map[net.Conn]bool{}, pending: map[netip.Addr]int{},
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
	conn, peer, h, err := s.greet(ctx, raw)
	s.greeted(host)
	if err != nil {
		s.log.Debug("a connection came to nothing", slog.Any("from", host), slog.Any("err", err))
		return
	}
	defer func() { <-s.proven }()
	s.accepted.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h(ctx, peer, conn)
	conn.Close()
}

// greet has the peer prove the key and name its service. On success the caller
// owns a place in s.proven.
func (s *Server) greet(ctx context.Context, raw net.Conn) (*tls.Conn, ring.NodeID, Handler, error) {
	if err := raw.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout)); err != nil {
		return nil, 0, nil, err
	}
	conn := tls.Server(raw, s.tls)
	peer, service, err := s.prove(ctx, conn)
	if err != nil {
		s.unproven.Add(1)
		return nil, 0, nil, err
	}
	isFrom(raw, peer)
	s.mu.Lock()
	h := s.services[service]
	s.mu.Unlock()
	reply := byte(replyGo)
	if h == nil {
		s.unknown.Add(1)
		reply = replyUnknown
	} else {
		select {
		case s.proven <- struct{}{}:
		default:
			s.refused.Add(1)
			reply = replyBusy
		}
	}
	_, err = conn.Write([]byte{reply})
	if reply != replyGo {
		return nil, 0, nil, errors.Join(fmt.Errorf("node %s, service %q: reply %d", peer, service, reply), err, conn.Close())
	}
	if err = errors.Join(err, raw.SetDeadline(time.Time{})); err != nil {
		<-s.proven
		return nil, 0, nil, err
	}
	return conn, peer, h, nil
}

// prove does the handshake and reads the name of the service.
func (s *Server) prove(ctx context.Context, conn *tls.Conn) (ring.NodeID, string, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return 0, "", err
	}
	peer, err := s.id.peer(conn.ConnectionState())
	if err != nil {
		return 0, "", err
	}
	var b [MaxService]byte
	if _, err := io.ReadFull(conn, b[:1]); err != nil {
		return 0, "", err
	}
	n := int(b[0])
	if n < 1 || n > MaxService {
		return 0, "", fmt.Errorf("a service's name of %d bytes", n)
	}
	_, err = io.ReadFull(conn, b[:n])
	return peer, string(b[:n]), err
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
