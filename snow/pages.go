package snow

import (
	"errors"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/httpfile"
	"rain/snow/site"
	"rain/store"
)

// page is the built-in body for a status.
func page(status int) []byte {
	text := strconv.Itoa(status) + " " + fasthttp.StatusMessage(status)
	return []byte("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>" + text + "</title>\n<h1>" + text + "</h1>\n</html>\n")
}

// plain answers with the built-in page.
func (s *Server) plain(c *conn, status int) {
	ctx := c.ctx
	if ctx == nil { // it was finished before its handler panicked
		return
	}
	body := page(status)
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType("text/html; charset=utf-8")
	ctx.Response.SetBodyRaw(body)
	if ctx.IsHead() {
		body = nil
	}
	s.finish(c, int64(len(body)))
}

// refuse answers a bad request and closes: where the next one begins is not to
// be trusted.
func (s *Server) refuse(c *conn, status int) {
	c.linger = true
	c.ctx.SetConnectionClose()
	s.plain(c, status)
}

// noSite answers where no site was found, or could not be read.
func (s *Server) noSite(c *conn, err error) {
	if errors.Is(err, site.ErrNoSite) {
		s.plain(c, fasthttp.StatusMisdirectedRequest)
		return
	}
	s.unavailable(c, nil, err)
}

// unavailable answers where the store failed.
func (s *Server) unavailable(c *conn, st *site.Site, err error) {
	status := fasthttp.StatusInternalServerError
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
		status = fasthttp.StatusServiceUnavailable
		c.ctx.Response.Header.Set("Retry-After", "1")
	}
	s.log.Warn("a request failed", slog.String("path", string(c.ctx.Path())), slog.Int("status", status), slog.Any("err", err))
	if st == nil || s.errorPage(c, st, status) != nil {
		s.plain(c, status)
	}
}

// errorPage answers with the site's own page for the status, or the built-in one.
func (s *Server) errorPage(c *conn, st *site.Site, status int) error {
	name := "404.html"
	if status >= 500 {
		name = "50x.html"
	}
	var f httpfile.File
	e := st.Lookup([]byte(name))
	if e == nil || e.File.Size > site.SmallFile || e.File.Size == 0 || s.reader.Describe(s.base, e, &f) != nil {
		s.plain(c, status)
		return nil
	}
	ctx := c.ctx
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType(f.ContentType)
	ctx.Response.SetBodyRaw(f.Small)
	sent := f.Size
	if ctx.IsHead() {
		sent = 0
	}
	s.finish(c, sent)
	return nil
}

// unreadable answers a request that fasthttp could not read.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return
	}
	// A client that sent nothing gets nothing, and without a lease nobody does.
	if !c.heard || c.vip.IsValid() && !c.leased() {
		c.abort()
		return
	}
	c.ctx, c.start = ctx, time.Now()
	status := fasthttp.StatusBadRequest
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small) && !c.lineSeen:
		status = fasthttp.StatusRequestURITooLong
	case errors.As(err, &small):
		status = fasthttp.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		status = fasthttp.StatusRequestEntityTooLarge
	case errors.As(err, &timeout) && timeout.Timeout():
		status = fasthttp.StatusRequestTimeout
	}
	s.mark(ctx)
	s.refuse(c, status)
}
