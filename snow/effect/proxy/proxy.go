// Package proxy is an effect that an application behind SNOW carries out, over
// HTTP/1.1. The application is called at most once for a request, by the node that
// took it, after the request's entry is durable on the token; its answer is
// recorded before the client gets it, and a repeat gets the recorded one.
//
// What it cannot do: if the node dies, or the application's answer does not come,
// between the call and the record, nobody knows whether the application acted. The
// recorded answer is then 503 with the code outcome_unknown, for this request and
// all its repeats; the application is not called again. An application that wants
// better takes part: it gets the entry's id as X-Rain-Entry and can keep what it
// did under it.
//
// If the application cannot be reached at all (no connection), it was not called:
// 503 not_now, and a repeat tries again.
//
// Limits: method, path, content type and body of a request together about 4 KiB
// (413); an answer's content type and body 1.5 KiB: of a longer one the client
// gets 502 answer_too_large, also on repeats, though the application has acted.
// Of headers only Content-Type goes through, and a status that is none is 502.
package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/effect"
	"rain/snow/queue"
)

// Config of one application.
type Config struct {
	Name    string        // of the effect; the same on all nodes, for ever
	Scope   string        // of the idempotency keys: the site
	URL     string        // http://host:port; the request's path is appended
	Timeout time.Duration // of a call. Default 5s
}

// DefaultConfig has the defaults; Name, Scope and URL are to be set.
func DefaultConfig() Config { return Config{Timeout: 5 * time.Second} }

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" || len(c.Name) > queue.MaxName {
		errs = append(errs, fmt.Errorf("proxy: name %q: 1 to %d bytes are allowed", c.Name, queue.MaxName))
	}
	if len(c.Scope) > queue.MaxScope {
		errs = append(errs, fmt.Errorf("proxy: a scope of %d bytes; %d are allowed", len(c.Scope), queue.MaxScope))
	}
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		errs = append(errs, fmt.Errorf(`proxy: url %q: must be like "http://127.0.0.1:9000"`, c.URL))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("proxy: timeout is %v; more than 0 is allowed", c.Timeout))
	}
	return errors.Join(errs...)
}

// Doer runs effects; *effect.Service is one.
type Doer interface {
	Do(ctx context.Context, e effect.Effect, req *effect.Request, prepare func(ctx context.Context, known bool) error) (effect.Outcome, error)
}

// App is an application as an effect.
type App struct {
	cfg    Config
	client *http.Client
}

var _ effect.Caller = (*App)(nil)

// New makes the effect. It opens nothing.
func New(cfg Config) (*App, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	return &App{cfg: cfg, client: &http.Client{
		Timeout: cfg.Timeout,
		// A connection that was kept may be closed just now: net/http would send a
		// request with a body again then, and never say so. A new one each time
		// keeps "at most once" plain.
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name implements effect.Effect.
func (a *App) Name() string { return a.cfg.Name }

// errOutside says that Run was called for what only Call can do.
var errOutside = errors.New("proxy: an application outside is called, not run")

// Run implements effect.Effect; the service calls Call instead.
func (a *App) Run([]byte) (effect.Action, error) { return effect.Action{}, errOutside }

// Answer implements effect.Effect.
func (a *App) Answer(note, _ []byte) (effect.Response, error) {
	n, err := parseNote(note)
	if err != nil {
		return effect.Response{}, err
	}
	r := effect.Response{Status: int(n.status), Body: n.body}
	if n.kind != "" {
		r.Header = append(r.Header, effect.Field{Name: "Content-Type", Value: n.kind})
	}
	if n.status == http.StatusServiceUnavailable {
		r.Header = append(r.Header, effect.Field{Name: "Retry-After", Value: "1"})
	}
	return r, nil
}

// Call implements effect.Caller.
func (a *App) Call(ctx context.Context, id queue.EntryID, input []byte) ([]byte, error) {
	in, err := parseInput(input)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", effect.ErrNotCalled, err)
	}
	req, err := http.NewRequestWithContext(ctx, in.method, a.cfg.URL+in.path, bytes.NewReader(in.body))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w: %w", effect.ErrNotCalled, err)
	}
	req.Header.Set("X-Rain-Entry", id.String())
	if in.kind != "" {
		req.Header.Set("Content-Type", in.kind)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("proxy: %s: %w: %w", a.cfg.Name, effect.ErrNotCalled, err)
		}
		return nil, fmt.Errorf("proxy: %s: %w", a.cfg.Name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("proxy: %s: its answer: %w", a.cfg.Name, err)
	}
	kind := resp.Header.Get("Content-Type")
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 599:
		return failure(http.StatusBadGateway, "bad_answer", "the application's answer has no proper status"), nil
	case len(kind) > 255 || len(kind)+len(body) > maxAnswer:
		return failure(http.StatusBadGateway, "answer_too_large", "the application has acted; its answer is too long to be kept"), nil
	}
	return note{uint16(resp.StatusCode), kind, body}.append(nil), nil
}

// Unknown implements effect.Caller.
func (a *App) Unknown() []byte {
	return failure(http.StatusServiceUnavailable, "outcome_unknown", "outcome unknown: the application may have acted or not; it is not called again for this request")
}

// Handler answers requests for the application. It is for snow.Server.Mount.
func (a *App) Handler(do Doer) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		key, err := effect.KeyOf(&ctx.Request.Header)
		if err != nil {
			explain(ctx, err)
			return
		}
		in := call{
			method: string(ctx.Method()), path: string(ctx.URI().RequestURI()),
			kind: string(ctx.Request.Header.ContentType()), body: ctx.Request.Body(),
		}
		req := &effect.Request{
			Scope: a.cfg.Scope, Key: key, Client: effect.Client(ctx), Method: in.method, Host: string(ctx.Host()), Path: in.path,
		}
		if len(in.method) > 255 || len(in.kind) > 255 || len(in.path) > 1<<16-1 {
			tooLarge.Send(ctx)
			return
		}
		var f effect.Fingerprint
		for _, part := range [][]byte{[]byte(in.method), []byte(in.path), []byte(in.kind), in.body} {
			f.Add(part)
		}
		req.Input, req.Fingerprint = in.append(nil), f.Sum()
		if len(req.Input) > queue.MaxInput {
			tooLarge.Send(ctx)
			return
		}
		o, err := do.Do(context.Background(), a, req, nil)
		if err != nil {
			explain(ctx, err)
			return
		}
		r, err := a.Answer(o.Note, o.Result)
		if err != nil {
			explain(ctx, err)
			return
		}
		r.Send(ctx, o.Replayed)
	}
}

var tooLarge = effect.Failure{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Text: "a request of at most about 4 KiB is kept"}

func explain(ctx *fasthttp.RequestCtx, err error) {
	f, _ := effect.Explain(err)
	f.Send(ctx)
}

const (
	wireVersion = 1
	maxAnswer   = 1536 // bytes of an answer's content type and body
)

// call is a request on its way to the application.
//
// Input: version u8 = 1 | method length u8 | method | path length u16 | path |
// content type length u8 | content type | the rest: body
type call struct {
	method, path, kind string
	body               []byte
}

func (c call) append(b []byte) []byte {
	b = append(append(b, wireVersion, byte(len(c.method))), c.method...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(c.path))), c.path...)
	b = append(append(b, byte(len(c.kind))), c.kind...)
	return append(b, c.body...)
}

var errInput = errors.New("proxy: not the stored form of a request, or of another version of the program")

func parseInput(b []byte) (c call, err error) {
	if len(b) < 2 || b[0] != wireVersion {
		return c, errInput
	}
	n := int(b[1])
	if b = b[2:]; len(b) < n+2 {
		return c, errInput
	}
	c.method, b = string(b[:n]), b[n:]
	n = int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n+1 {
		return c, errInput
	}
	c.path, b = string(b[:n]), b[n:]
	n = int(b[0])
	if b = b[1:]; len(b) < n {
		return c, errInput
	}
	c.kind, c.body = string(b[:n]), b[n:]
	return c, nil
}

// note is an answer as it is kept.
//
// Note: version u8 = 1 | status u16 | content type length u8 | content type | the
// rest: body
type note struct {
	status uint16
	kind   string
	body   []byte
}

func (n note) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, wireVersion), n.status)
	b = append(append(b, byte(len(n.kind))), n.kind...)
	return append(b, n.body...)
}

func parseNote(b []byte) (n note, err error) {
	if len(b) < 4 || b[0] != wireVersion || len(b) < 4+int(b[3]) {
		return n, errInput
	}
	k := 4 + int(b[3])
	return note{binary.BigEndian.Uint16(b[1:]), string(b[4:k]), b[k:]}, nil
}

// failure is the note of an error that SNOW itself answers with.
func failure(status uint16, code, text string) []byte {
	type detail struct {
		Code string `json:"code"`
		Text string `json:"text"`
	}
	body, err := json.Marshal(struct {
		API   int    `json:"api"`
		Error detail `json:"error"`
	}{1, detail{code, text}})
	if err != nil {
		body = []byte(`{"api":1,"error":{"code":"internal"}}`) // texts of this program always marshal
	}
	return note{status, "application/json", append(body, '\n')}.append(nil)
}
