package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// call is one request on its way to a handler.
type call struct {
	*fasthttp.RequestCtx
	s      *Server
	body   *body
	method string
	path   []string // decoded parts after /api/v1/; an object's key is the last, whole
}

// route finds the handler by the raw path: the key of an object may contain
// anything, also what a normalised path would lose.
func (s *Server) route(ctx *fasthttp.RequestCtx, b *body) error {
	c := &call{RequestCtx: ctx, s: s, body: b, method: string(ctx.Method())}
	raw := string(ctx.URI().PathOriginal())
	switch raw {
	case "/healthz":
		return c.plain(200, "ok\n")
	case "/readyz":
		if err := s.deps.Status.Ready(); err != nil {
			return fail(503, "not_ready", err.Error(), "")
		}
		return c.plain(200, "ready\n")
	case "/metrics":
		if !s.cfg.MetricsPublic {
			if err := s.authorise(ctx); err != nil {
				return err
			}
		}
		return c.metrics()
	}
	if ours, err := c.ui(raw); ours {
		return err
	}
	if err := s.authorise(ctx); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(raw, "/api/v1/")
	if !ok {
		return noSuchPath(raw)
	}
	n := 4
	if strings.HasPrefix(rest, "objects/") {
		n = 3
	}
	for _, p := range strings.SplitN(rest, "/", n) {
		d, err := url.PathUnescape(p)
		if err != nil {
			return fail(400, "bad_request", "the path has a bad %-escape: "+err.Error(), "")
		}
		c.path = append(c.path, d)
	}
	switch c.path[0] {
	case "status":
		return c.status()
	case "events":
		return c.events()
	case "live":
		return c.live()
	case "links":
		return c.links()
	case "objects":
		return c.objects()
	case "symbols":
		return c.symbols()
	case "store":
		return c.store()
	case "layout":
		return c.layout()
	case "sites":
		return c.sites()
	case "videos":
		return c.videos()
	case "nodes":
		return c.nodes()
	case "vips":
		return c.vips()
	case "fault":
		return c.fault()
	case "invitations":
		return c.invitations()
	case "key":
		return c.key()
	case "ring":
		return c.ring()
	case "settings":
		return c.settings()
	}
	return noSuchPath(raw)
}

func noSuchPath(path string) error {
	return fail(404, "no_such_path", fmt.Sprintf("there is nothing at %q here", path), "")
}

// allow refuses other methods.
func (c *call) allow(methods ...string) error {
	for _, m := range methods {
		if c.method == m || m == "GET" && c.method == "HEAD" {
			return nil
		}
	}
	list := strings.Join(methods, ", ")
	c.Response.Header.Set("Allow", list)
	return fail(405, "method_not_allowed", c.method+" is not possible here", "use "+list)
}

func (c *call) plain(status int, text string) error {
	if err := c.allow("GET"); err != nil {
		return err
	}
	c.SetStatusCode(status)
	c.SetContentType("text/plain; charset=utf-8")
	c.SetBodyString(text)
	return nil
}

func (c *call) metrics() error {
	if err := c.allow("GET"); err != nil {
		return err
	}
	if c.s.deps.Metrics == nil {
		return noSuchPath("/metrics")
	}
	var b bytes.Buffer
	c.s.deps.Metrics(&b)
	c.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	c.SetBody(b.Bytes())
	return nil
}

func (c *call) status() error {
	if err := c.allow("GET"); err != nil {
		return err
	}
	st := c.s.deps.Status.Status()
	st.fill()
	sendJSON(c.RequestCtx, 200, st)
	return nil
}

func (c *call) events() error {
	if err := c.allow("GET"); err != nil {
		return err
	}
	after, err := c.number("after")
	if err != nil {
		return err
	}
	a := Events{API: API, Node: c.s.cfg.Node, Last: after, Events: c.s.deps.Status.Events(after)}
	notNil(&a.Events)
	for _, e := range a.Events {
		a.Last = max(a.Last, e.ID)
	}
	sendJSON(c.RequestCtx, 200, a)
	return nil
}

// number is a query argument that may be missing: 0.
func (c *call) number(name string) (uint64, error) {
	v := string(c.QueryArgs().Peek(name))
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		return 0, fail(422, "bad_input", fmt.Sprintf("%s=%q is not a whole number", name, v), "")
	}
	return n, nil
}

// json reads the body into v; an empty body leaves v alone.
func (c *call) json(v any) error {
	b, err := io.ReadAll(io.LimitReader(c.body, maxJSON+1))
	switch {
	case err != nil:
		return fmt.Errorf("admin: read the body: %w", err)
	case len(b) > maxJSON:
		return fail(413, "too_large", fmt.Sprintf("a JSON body may have at most %d bytes", maxJSON), "")
	case len(bytes.TrimSpace(b)) == 0:
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fail(422, "bad_input", "the body is not the JSON that is wanted here: "+err.Error(), "")
	}
	return nil
}

// done is the answer of an action that has nothing to tell.
type done struct {
	API  int    `json:"api"`
	Done string `json:"done"`
}
