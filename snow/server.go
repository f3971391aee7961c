package snow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"rain/ring"
	"rain/snow/accesslog"
	"rain/snow/site"
)

// Cluster is what the server asks of the node. All methods are called for each
// request and must not wait.
type Cluster interface {
	Now() ring.Instant
	LeaseUntil() ring.Instant
	// Holds reports whether this node acts for the VIP now.
	Holds(vip netip.Addr) bool
	// Isolated reports whether this node is outside of the primary view, so that
	// what it serves may be old.
	Isolated() bool
}

// Metrics hears of each request. method is one of GET, HEAD, OPTIONS, POST, PUT,
// DELETE or "other"; took ends with the last byte handed to the kernel for large
// bodies, else before the response is written.
type Metrics interface {
	Request(method string, code int, took time.Duration)
}

// Deps are what the server stands on.
type Deps struct {
	Content site.Content
	Cluster Cluster
	Metrics Metrics // nil: none
	Queue   Queue   // nil: requests are not put on the queue
}

// Stats are counters since the start, and gauges.
type Stats struct {
	Conns       int    // open now
	Refused     uint64 // connections over a limit
	LeaseClosed uint64 // VIP requests closed without an answer
	LogDropped  uint64 // lines of the access log
}

// Server serves sites and mounted handlers. Make it with New, mount, serve any
// number of listeners, then Shutdown.
type Server struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	reader  *site.Reader
	access  *accesslog.Log // nil: none
	http    *fasthttp.Server
	conns   connSet
	slots   *slots // nil: no queue
	flush   chan chan struct{}
	mounts  []mount // longest prefix first
	base    context.Context
	stop    context.CancelFunc
	refused atomic.Uint64
	late    atomic.Uint64
	part    time.Duration // farewell; tests have another

	mu        sync.Mutex
	closing   bool
	listeners map[*listener]struct{} // that are being served
	serving   sync.WaitGroup         // one for each
}

// New checks cfg and makes a server that listens nowhere yet.
func New(cfg Config, deps Deps, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, deps: deps, log: log, part: farewell, listeners: map[*listener]struct{}{}}
	if cfg.AccessLog != "" {
		var err error
		if s.access, err = accesslog.Open(cfg.AccessLog, cfg.AccessFormat, log); err != nil {
			return nil, fmt.Errorf("snow: %w", err)
		}
	}
	s.base, s.stop = context.WithCancel(context.Background())
	s.conns.all, s.conns.perIP = map[*conn]struct{}{}, map[netip.Prefix]int{}
	s.conns.leaving = map[netip.Addr]*time.Duration{}
	s.reader = site.NewReader(deps.Content, cfg.CacheBytes, cfg.OpenFiles, cfg.StoreTimeout)
	s.http = &fasthttp.Server{
		Name:                         "rain",
		Handler:                      s.handle,
		ErrorHandler:                 s.unreadable,
		HeaderReceived:               s.bodyLimits,
		Logger:                       quiet{log},
		Concurrency:                  cfg.MaxConns,
		ReadBufferSize:               HeaderBytes,
		ReadTimeout:                  cfg.HeaderTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxRequestBodySize:           cfg.MaxBody,
		DisablePreParseMultipartForm: true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
	}
	if deps.Queue != nil {
		s.slots, s.flush = newSlots(cfg.MaxConns), make(chan chan struct{})
		s.http.ConnState = func(nc net.Conn, st fasthttp.ConnState) {
			// Told once, by the goroutine that served the connection.
			if c, ok := nc.(*conn); ok && (st == fasthttp.StateClosed || st == fasthttp.StateHijacked) {
				c.tracked.close()
			}
		}
	}
	return s, nil
}

// quiet passes what fasthttp says on to the log: faults of clients, mostly.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("http connection ended", slog.String("text", fmt.Sprintf(format, args...)))
}

// ServeOwn serves one of the node's own addresses until ln is closed. It returns
// nil then, at once; connections go on until Shutdown.
func (s *Server) ServeOwn(ln net.Listener) error {
	return s.serve(ln, netip.Addr{})
}

// ServeVIP serves a VIP until ln is closed. Connections go on, but get answers
// only as the package comment says.
func (s *Server) ServeVIP(ln net.Listener, vip netip.Addr) error {
	if !vip.IsValid() {
		return errors.New("snow: ServeVIP needs the VIP's address")
	}
	s.Stay(vip)
	return s.serve(ln, vip.Unmap())
}

func (s *Server) serve(ln net.Listener, vip netip.Addr) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return errors.Join(fmt.Errorf("snow: serving %v: %w", ln.Addr(), ErrClosed), ln.Close())
	}
	s.serving.Add(1)
	l := &listener{Listener: ln, server: s, vip: vip}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer s.ended(l)
	if err := s.http.Serve(l); err != nil {
		return fmt.Errorf("snow: serving %v: %w", ln.Addr(), err)
	}
	return nil
}

func (s *Server) ended(l *listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	s.serving.Done()
}

// ErrClosed says that the server was shut down.
var ErrClosed = errors.New("the web server is shut down")

// farewell is how long Shutdown waits for a request on connections that have
// none: a client in the midst of its work sends one, and learns by the answer that
// the connection ends; what is idle is closed.
const farewell = time.Second

// Shutdown closes the listeners, answers what was accepted, lets running requests
// finish until ctx ends, then closes their connections. Nothing of the server
// runs when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	open := slices.Collect(maps.Keys(s.listeners))
	s.mu.Unlock()
	if again {
		return nil
	}
	s.conns.leave(all, s.part)
	for _, ln := range open {
		_ = ln.Close() // a VIP's may be closed already, by its owner
	}
	s.serving.Wait() // now all that was accepted is in conns
	select {
	case <-s.conns.emptied():
	case <-ctx.Done():
	}
	// fasthttp closes idle connections without a look: there are none any more.
	err := s.http.ShutdownWithContext(ctx)
	s.stop()
	if ctx.Err() != nil {
		err = fmt.Errorf("snow: %d connections were cut off: %w", s.conns.count(), ctx.Err())
		s.conns.closeAll()
		// Their handlers end with their writes. fasthttp has no way to wait but this.
		patience, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if e := s.http.ShutdownWithContext(patience); e != nil && patience.Err() != nil {
			err = errors.Join(err, errors.New("snow: a handler does not end"))
		}
	} else if errors.Is(err, net.ErrClosed) {
		err = nil // they were closed above
	}
	s.reader.Close()
	if s.access != nil {
		err = errors.Join(err, s.access.Close())
	}
	return err
}

// Reopen goes on with a new access log file, after a rotation.
func (s *Server) Reopen() error {
	if s.access == nil {
		return nil
	}
	return s.access.Reopen()
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	st := Stats{Conns: s.conns.count(), Refused: s.refused.Load(), LeaseClosed: s.late.Load()}
	if s.access != nil {
		st.LogDropped = s.access.Dropped()
	}
	return st
}
