package snow

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/accesslog"
	"rain/snow/httpfile"
	"rain/snow/site"
	"rain/store"
)

// mount is a handler for all paths under a prefix.
type mount struct {
	prefix string // begins with "/", does not end with it
	h      fasthttp.RequestHandler
}

// Mount gives all paths at and under prefix ("/video"), on every host and
// address, to h; the longest prefix wins. h is called after the checks of framing
// and lease, sees every method, and must not keep ctx. Mount before serving.
func (s *Server) Mount(prefix string, h fasthttp.RequestHandler) error {
	p := strings.TrimSuffix(prefix, "/")
	if len(p) < 2 || p[0] != '/' || strings.ContainsAny(p, "?#% ") {
		return fmt.Errorf("snow: prefix %q to mount at is not a path such as \"/video\"", prefix)
	}
	s.mounts = append(s.mounts, mount{p, h})
	slices.SortStableFunc(s.mounts, func(a, b mount) int { return len(b.prefix) - len(a.prefix) })
	return nil
}

func (s *Server) mounted(path []byte) fasthttp.RequestHandler {
	for i := range s.mounts {
		p := s.mounts[i].prefix
		if len(path) >= len(p) && string(path[:len(p)]) == p && (len(path) == len(p) || path[len(p)] == '/') {
			return s.mounts[i].h
		}
	}
	return nil
}

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		panic(fmt.Sprintf("snow: a connection of type %T", ctx.Conn())) // only listener makes them
	}
	c.ctx, c.start = ctx, ctx.Time()
	defer func() {
		c.lineSeen, c.begun = false, false
		if r := recover(); r != nil {
			s.log.Error("a request's handler panicked", slog.Any("panic", r), slog.String("path", string(ctx.Path())))
			ctx.Response.Reset()
			ctx.Response.Header.SetServer("rain")
			ctx.SetConnectionClose()
			s.plain(c, fasthttp.StatusInternalServerError)
		}
	}()
	if !c.mayServe(s.base) {
		s.late.Add(1)
		c.ctx = nil
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(net.Conn) {}) // which closes it
		return
	}
	c.tracked.begin(ctx, c.start)
	f := inspect(ctx.Request.Header.RawHeaders())
	if f.close || c.leaveAt.Load() != nil || c.vip.IsValid() && !s.deps.Cluster.Holds(c.vip) {
		ctx.SetConnectionClose()
	}
	s.mark(ctx)
	if status := refusal(&ctx.Request.Header, &f); status != 0 {
		s.refuse(c, status)
		return
	}
	var room [512]byte
	t, ok := parseTarget(room[:], ctx.Request.Header.RequestURI())
	if !ok || !c.setHost(t.host) {
		s.refuse(c, fasthttp.StatusBadRequest)
		return
	}
	if h := s.mounted(t.path); h != nil {
		h(ctx)
		c.tracked.responds(ctx)
		s.finish(c, int64(max(0, ctx.Response.Header.ContentLength(), len(responseBytes(ctx)))))
		return
	}
	s.serveSite(c, &t)
	c.tracked.responds(ctx)
}

// responseBytes is the body, if it is no stream.
func responseBytes(ctx *fasthttp.RequestCtx) []byte {
	if ctx.Response.IsBodyStream() {
		return nil
	}
	return ctx.Response.Body()
}

// mark adds the headers that every answer of this node has.
func (s *Server) mark(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetCanonical([]byte("X-Content-Type-Options"), []byte("nosniff"))
	if s.cfg.NodeHeader {
		h.SetCanonical([]byte("X-Rain-Node"), []byte(s.cfg.NodeName))
	}
	if s.deps.Cluster.Isolated() {
		h.SetCanonical([]byte("X-Rain-State"), []byte("isolated"))
	}
}

// setHost finds the name of the host asked for; authority, of an absolute-form
// request, goes before Host.
func (c *conn) setHost(authority []byte) bool {
	raw := authority
	if len(raw) == 0 {
		raw = c.ctx.Request.Header.Host()
	}
	if c.host != nil && bytes.Equal(raw, c.hostRaw) {
		return true
	}
	name, ok := hostName(raw)
	if !ok {
		return false
	}
	c.hostRaw = append(c.hostRaw[:0], raw...)
	c.host = site.NewHost(name)
	return true
}

const allowed = "GET, HEAD, OPTIONS"

// serveSite answers from the site of the request's host.
func (s *Server) serveSite(c *conn, t *target) {
	ctx := c.ctx
	switch {
	case ctx.IsOptions():
		ctx.Response.Header.Set("Allow", allowed)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		s.finish(c, 0)
		return
	case !ctx.IsGet() && !ctx.IsHead() || t.star:
		ctx.Response.Header.Set("Allow", allowed)
		s.plain(c, fasthttp.StatusMethodNotAllowed)
		return
	}
	for again := true; ; again = false {
		st, err := s.reader.Site(s.base, c.host)
		if err != nil {
			s.noSite(c, err)
			return
		}
		err = s.serveFrom(c, t, st)
		if err == nil {
			return
		}
		// The version may have been replaced and deleted since we looked it up.
		if again && errors.Is(err, store.ErrNotFound) {
			continue
		}
		s.unavailable(c, st, err)
		return
	}
}

// serveFrom answers from one version of a site. An error means that nothing is
// in the response yet.
func (s *Server) serveFrom(c *conn, t *target, st *site.Site) error {
	var room [site.MaxPath + 16]byte
	rel := t.path[1:]
	if len(rel) > site.MaxPath {
		return s.errorPage(c, st, fasthttp.StatusNotFound)
	}
	if len(rel) == 0 || rel[len(rel)-1] == '/' {
		rel = append(append(room[:0], rel...), "index.html"...)
	}
	e := st.Lookup(rel)
	if e == nil {
		if index := append(append(room[:0], rel...), "/index.html"...); st.Lookup(index) != nil {
			s.toFolder(c, t)
			return nil
		}
		return s.errorPage(c, st, fasthttp.StatusNotFound)
	}
	return s.send(c, e.Choose(c.ctx.Request.Header.Peek("Accept-Encoding")))
}

func (s *Server) send(c *conn, e *site.Entry) error {
	var f httpfile.File
	if err := s.reader.Describe(s.base, e, &f); err != nil {
		return err
	}
	return httpfile.Serve(c.ctx, &f, func() (httpfile.Body, func(), error) {
		c.tracked.object = e.Sum()
		return s.reader.Open(s.base, e)
	}, c.finish)
}

// toFolder redirects "/a" to "/a/", so that relative links in its index work.
func (s *Server) toFolder(c *conn, t *target) {
	location := append(appendEscapedPath(nil, t.path), '/')
	c.ctx.Response.Header.SetBytesV("Location", append(location, t.query...))
	s.plain(c, fasthttp.StatusMovedPermanently)
}

// finish counts and logs a request, once: when its body was handed over, or lost.
func (s *Server) finish(c *conn, sent int64) {
	ctx := c.ctx
	if ctx == nil {
		return
	}
	c.ctx = nil
	took, code := time.Since(c.start), ctx.Response.StatusCode()
	if s.deps.Metrics != nil {
		s.deps.Metrics.Request(methodName(ctx.Method()), code, took)
	}
	if s.access == nil {
		return
	}
	h := &ctx.Request.Header
	s.access.Log(&accesslog.Record{
		Time: c.start, Remote: c.remote, Host: h.Host(), Method: h.Method(), URI: h.RequestURI(), Proto: h.Protocol(),
		Status: code, Sent: sent, Referer: h.Referer(), UserAgent: h.UserAgent(), Took: took, VIP: c.vip.IsValid(),
	})
}

// methodName bounds the values of a metric's label.
func methodName(m []byte) string {
	for _, known := range [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
		if string(m) == known {
			return known
		}
	}
	return "other"
}
