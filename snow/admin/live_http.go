package admin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// live answers GET /api/v1/live: server-sent events until one side ends.
//
// Events: "hello" (Hello) first; "status": the parts of Status that are new, all
// of them at first, at most ten times a second; "event" (Event) with id
// LIFE.ID; "beat" (Beat) once a second. Of the queue's entries and of the
// streams there are at most LiveEntries.
//
// Query: parts=ring,members,... limits the status to these (see partTable);
// after=LIFE.ID leaves out the events up to that one, as the header
// Last-Event-ID does, if this still is the same life of the node.
func (c *call) live() error {
	if err := c.allow("GET"); err != nil {
		return err
	}
	s := c.s
	if s.live == nil {
		return noSuchPath("/api/v1/live")
	}
	wanted, err := wantedParts(string(c.QueryArgs().Peek("parts")))
	if err != nil {
		return err
	}
	after := string(c.QueryArgs().Peek("after"))
	if after == "" {
		after = string(c.Request.Header.Peek("Last-Event-ID"))
	}
	if c.method == "HEAD" {
		c.SetContentType("text/event-stream")
		return nil
	}
	client, err := s.live.reserve(wanted, s.live.resume(after))
	switch {
	case errors.Is(err, errManyLive):
		return fail(503, "busy", err.Error(), "close other pages that watch this node, or watch another node")
	case err != nil:
		return fail(503, "stopping", err.Error(), "ask another node")
	}
	head, err := s.liveHead(c.RequestCtx)
	if err != nil {
		s.live.leave(client)
		return err
	}
	// The server's own writer would buffer, and notice a client's end only at the
	// next write.
	c.HijackSetNoResponse(true)
	c.Hijack(func(nc net.Conn) {
		if raw, ok := nc.(interface{ UnsafeConn() net.Conn }); ok {
			nc = raw.UnsafeConn()
		}
		if own, ok := nc.(*conn); ok {
			nc = own.Conn // without its deadlines: these streams have their own
		}
		client.serve(nc, head)
	})
	return nil
}

// liveHead is the answer's header and the first event.
func (s *Server) liveHead(ctx *fasthttp.RequestCtx) ([]byte, error) {
	hello, err := encodePart(s.live.greeting())
	if err != nil {
		return nil, err
	}
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n" +
		"X-Content-Type-Options: nosniff\r\nX-Accel-Buffering: no\r\n")
	for _, name := range []string{"Access-Control-Allow-Origin", "Vary"} {
		if v := ctx.Response.Header.Peek(name); len(v) > 0 {
			b = fmt.Appendf(b, "%s: %s\r\n", name, v)
		}
	}
	return fmt.Appendf(b, "\r\nretry: 500\nevent: hello\ndata: %s\n\n", hello), nil
}

// resume is the event id in LIFE.ID, 0 if it is of another life or none.
func (h *hub) resume(after string) uint64 {
	life, id, ok := strings.Cut(after, ".")
	if !ok || life != h.hello.Life {
		return 0
	}
	n, err := strconv.ParseUint(id, 10, 63)
	if err != nil {
		return 0 // all events again do no harm
	}
	return n
}

// crossOrigin lets the pages of the cluster's other nodes ask this one. Without
// the token in the Authorization header, which no browser adds by itself unless
// a page of these origins asks for it, they get no further than anyone. It
// reports whether the request is answered.
func (s *Server) crossOrigin(ctx *fasthttp.RequestCtx) (answered bool) {
	h := &ctx.Response.Header
	origin := string(ctx.Request.Header.Peek("Origin"))
	if origin == "" {
		return false
	}
	h.Add("Vary", "Origin")
	if !s.clusterOrigin(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if !ctx.IsOptions() || len(ctx.Request.Header.Peek("Access-Control-Request-Method")) == 0 {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", "600")
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return true
}

// clusterOrigin reports whether origin is the admin address of a node.
func (s *Server) clusterOrigin(origin string) bool {
	return s.deps.Origins != nil && slices.Contains(origins(s.deps.Origins()), origin)
}

// origins keeps of a list of URLs what is a plain origin with an IP address or a
// host name, in the form in which browsers send it: these texts go into headers.
func origins(urls []string) []string {
	out := make([]string, 0, len(urls))
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !plainHost(u.Hostname()) {
			continue
		}
		o := u.Scheme + "://" + strings.ToLower(u.Host)
		if u.Scheme == "http" {
			o = strings.TrimSuffix(o, ":80")
		} else {
			o = strings.TrimSuffix(o, ":443")
		}
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

func plainHost(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == "" && !a.IsUnspecified()
	}
	for _, r := range h {
		if r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return h != ""
}
