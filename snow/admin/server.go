package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Config of the admin address.
type Config struct {
	Node          string        // this node's name
	Listen        string        // host:port, for the log; the caller opens the listener
	Token         string        // at least 16 characters
	MetricsPublic bool          // /metrics without the token
	Fault         bool          // allow faults; never in production
	Control       string        // URL of the demo that runs this node, for its page; empty: none does
	Version       string        // of the program, for its page
	OpTimeout     time.Duration // for an answer that needs the cluster; below rainctl's 10 s
	IdleTimeout   time.Duration // a client without a byte of progress is dropped
	MaxConns      int
}

// DefaultConfig has all but Node, Listen and Token.
func DefaultConfig() Config {
	return Config{OpTimeout: 8 * time.Second, IdleTimeout: 30 * time.Second, MaxConns: 512}
}

// MinToken is the least length of a token: with it, guessing at the rate that
// the server allows is hopeless.
const MinToken = 16

// Validate returns all faults at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf("admin: "+format, args...))
		}
	}
	bad(c.Node == "", "node: missing; give the node's name")
	bad(len(c.Token) < MinToken, "token: %d characters; at least %d are needed, make one with 'rainctl key new FILE'", len(c.Token), MinToken)
	bad(strings.ContainsAny(c.Token, " \t\r\n"), "token: contains white space; it could not be sent in a header")
	bad(c.OpTimeout <= 0, "op_timeout: %v; must be above 0", c.OpTimeout)
	bad(c.IdleTimeout <= 0, "idle_timeout: %v; must be above 0", c.IdleTimeout)
	bad(c.MaxConns < 1, "max_conns: %d; must be at least 1", c.MaxConns)
	return errors.Join(errs...)
}

const (
	maxHeader    = 16 << 10
	maxURI       = 8 << 10
	maxJSON      = 32 << 20
	prefetchBody = 64 << 10 // what is read into memory before a handler runs
	minUpload    = 16 << 10 // bytes a second
	maxUpload    = 12 * time.Hour
)

// Server serves one admin address. Make it with New.
type Server struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	http   *fasthttp.Server
	base   context.Context
	cancel context.CancelFunc
	logins logins
	wg     sync.WaitGroup

	live *hub // nil without Deps.Live
	ui   map[string]*uiFile
}

// New checks cfg and returns a server that is not yet serving.
func New(cfg Config, deps Deps, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Status == nil {
		return nil, errors.New("admin: no status source given")
	}
	files, err := loadUI(deps.UI)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, deps: deps, log: log, ui: files}
	if deps.Live != nil {
		s.live = newHub(deps.Status, deps.Live, Hello{
			API: API, Node: cfg.Node, Life: strconv.FormatInt(time.Now().UnixMilli(), 36), Version: cfg.Version, Faults: cfg.Fault && deps.Fault != nil, Control: cfg.Control,
		}, log)
	}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.http = &fasthttp.Server{
		Name:                         "rain",
		Handler:                      s.handle,
		ExpectHandler:                s.expect,
		HeaderReceived:               s.bodyTime,
		ErrorHandler:                 malformed,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultContentType:         true,
		MaxRequestBodySize:           prefetchBody,
		ReadBufferSize:               maxHeader,
		ReadTimeout:                  10 * time.Second,
		IdleTimeout:                  cfg.IdleTimeout,
		Concurrency:                  cfg.MaxConns,
		CloseOnShutdown:              true,
		Logger:                       quiet{log},
	}
	return s, nil
}

// Serve answers on ln until Shutdown, then returns nil.
func (s *Server) Serve(ln net.Listener) error {
	s.log.Info("admin address serves", slog.String("addr", ln.Addr().String()))
	err := s.http.Serve(listener{ln, s.cfg.IdleTimeout})
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("admin: serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown takes no new connection and lets running requests finish until ctx
// ends; then what still runs is told to stop.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.ShutdownWithContext(ctx)
	s.cancel()
	if s.live != nil {
		s.live.close()
	}
	s.wg.Wait()
	if err != nil {
		return fmt.Errorf("admin: shutdown: %w", err)
	}
	return nil
}

// bodyTime gives a body the time that the slowest welcome client needs.
func (s *Server) bodyTime(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	d := 10 * time.Second
	switch n := h.ContentLength(); {
	case n > 0:
		d = uploadTime(int64(n))
	case n == -1: // chunked
		d = maxUpload
	}
	return fasthttp.RequestConfig{ReadTimeout: d}
}

func uploadTime(n int64) time.Duration {
	return min(maxUpload, 30*time.Second+time.Duration(n/minUpload)*time.Second)
}

// expect refuses an upload before its body is sent.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	if err := s.authorise(ctx); err != nil {
		sendError(ctx, err)
		return ctx.Response.StatusCode()
	}
	return fasthttp.StatusContinue
}

func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	body := newBody(ctx)
	defer body.settle()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("admin request panicked", slog.String("path", string(ctx.Path())), slog.Any("panic", p))
			ctx.Response.Reset()
			sendError(ctx, fail(500, "internal", "the node failed to handle this request", "see this node's log"))
		}
	}()
	if len(ctx.RequestURI()) > maxURI {
		sendError(ctx, fail(414, "uri_too_long", fmt.Sprintf("the request's path is longer than %d bytes", maxURI), ""))
		return
	}
	if s.crossOrigin(ctx) {
		return
	}
	if err := s.route(ctx, body); err != nil {
		sendError(ctx, err)
	}
}

func (s *Server) authorise(ctx *fasthttp.RequestCtx) error {
	const hint = "send 'Authorization: Bearer TOKEN', or Basic with user admin"
	token, ok := presented(ctx.Request.Header.Peek("Authorization"))
	if !ok {
		return fail(401, "unauthorised", "this needs the token of the node's [admin] token_file", hint)
	}
	ip, _ := netip.AddrFromSlice(ctx.RemoteIP())
	now := time.Now()
	if s.logins.blocked(ip, now) {
		return fail(429, "too_many_logins", "too many wrong tokens came from this address", "wait some seconds")
	}
	if !sameToken(token, s.cfg.Token) {
		s.logins.failed(ip, now)
		s.log.Warn("wrong admin token", slog.String("client", ip.String()))
		return fail(401, "unauthorised", "the token is wrong", hint)
	}
	return s.sameOrigin(ctx)
}

// sameOrigin keeps foreign pages from using the password that a browser
// remembers for this address. A bearer token no browser remembers: the page of
// another node has it from its user.
func (s *Server) sameOrigin(ctx *fasthttp.RequestCtx) error {
	if ctx.IsGet() || ctx.IsHead() {
		return nil
	}
	h := &ctx.Request.Header
	scheme, _, _ := strings.Cut(string(h.Peek("Authorization")), " ")
	if strings.EqualFold(scheme, "Bearer") && s.clusterOrigin(string(h.Peek("Origin"))) {
		return nil
	}
	site := string(h.Peek("Sec-Fetch-Site"))
	origin := string(h.Peek("Origin"))
	_, host, _ := strings.Cut(origin, "://")
	if site == "cross-site" || site == "same-site" || origin != "" && host != string(h.Host()) {
		return fail(403, "cross_origin", "a page of another origin may not do this", "")
	}
	return nil
}

// opContext bounds an operation in the cluster.
func (s *Server) opContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.base, s.cfg.OpTimeout)
}

// uploadContext bounds an operation that reads a body of that size, or of an
// unknown one (-1).
func (s *Server) uploadContext(size int64) (context.Context, context.CancelFunc) {
	d := maxUpload
	if size >= 0 {
		d = uploadTime(size)
	}
	return context.WithTimeout(s.base, d+s.cfg.OpTimeout)
}

func malformed(ctx *fasthttp.RequestCtx, err error) {
	status := 400
	var big *fasthttp.ErrSmallBuffer
	var ne net.Error
	switch {
	case errors.As(err, &big):
		status = 431
	case errors.As(err, &ne) && ne.Timeout():
		status = 408
	}
	sendError(ctx, fail(status, "bad_request", err.Error(), ""))
	ctx.SetConnectionClose()
}

// quiet sends the HTTP server's own remarks, all about single clients, to debug.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("admin connection", slog.String("text", fmt.Sprintf(format, args...)))
}

// body is a request's body. Unlike the stream below it, it tells a body that
// was cut short from a whole one.
type body struct {
	ctx  *fasthttp.RequestCtx
	r    io.Reader
	size int64 // -1: not known
	got  int64
	eof  bool
}

func newBody(ctx *fasthttp.RequestCtx) *body {
	b := &body{ctx: ctx, r: ctx.RequestBodyStream(), size: int64(ctx.Request.Header.ContentLength())}
	if b.r == nil || b.size == -2 {
		b.r, b.size = strings.NewReader(""), 0
	}
	if b.size == -1 {
		// Whoever sends a length beside the chunks may see another end of this
		// request than we do; nothing that follows on the connection is trusted.
		ctx.SetConnectionClose()
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if b.eof {
		return 0, io.EOF
	}
	n, err := b.r.Read(p)
	b.got += int64(n)
	if b.size >= 0 && b.got >= b.size {
		b.eof = true
		return n, io.EOF
	}
	if err == io.EOF {
		// The stream below says EOF also when the connection ends between two
		// chunks; a whole chunked body is known without reading on.
		c, ok := b.ctx.Conn().(*conn)
		if b.size >= 0 || ok && c.sawEnd() {
			return n, fmt.Errorf("admin: the body ended after %d bytes: %w", b.got, io.ErrUnexpectedEOF)
		}
		b.eof = true
	}
	return n, err
}

// settle keeps the rest of an unread body from being taken for a request.
func (b *body) settle() {
	if b.eof || b.size == 0 {
		return
	}
	b.ctx.SetConnectionClose()
	if c, ok := b.ctx.Conn().(*conn); ok {
		c.lingerOnClose()
	}
}
