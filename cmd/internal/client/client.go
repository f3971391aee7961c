package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"rain/snow/admin"
)

// DefaultTimeout is that of rainctl.
const DefaultTimeout = 10 * time.Second

const maxAnswer = 64 << 20

// Client asks the admin addresses of one cluster. Many goroutines may use it.
type Client struct {
	Timeout time.Duration     // set before the first call
	Control string            // the demo's control address, if there is one
	nodes   map[string]string // admin URLs by node name, as far as the cluster file told
	// TokenFrom is where the token is from, for the error that says it is wrong: a
	// file, "$RAIN_TOKEN".
	TokenFrom string

	urls  []string
	token string
	http  *http.Client
	ways  *ways

	mu    sync.Mutex
	first int // the URL that answered last
}

// New makes a client of the admin URLs, asked in their order.
func New(admins []string, token string) *Client {
	c := &Client{Timeout: DefaultTimeout, token: token, ways: newWays()}
	for _, u := range admins {
		if u = strings.TrimRight(strings.TrimSpace(u), "/"); u != "" {
			c.urls = append(c.urls, u)
		}
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:         c.ways.dial,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     20 * time.Second,
			DisableCompression:  true,
		},
		// The token goes to no address but those that we were told.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// at is a client of one URL with the same settings.
func (c *Client) at(u string) *Client {
	return &Client{Timeout: c.Timeout, Control: c.Control, TokenFrom: c.TokenFrom, nodes: c.nodes, urls: []string{u}, token: c.token, http: c.http, ways: c.ways}
}

// Error is an answer that is not a success, or none at all (Status 0).
type Error struct {
	Status int
	admin.ErrorBody
	URL      string
	Repeated bool // an earlier try of the same call may have had its effect
}

func (e *Error) Error() string {
	if e.URL == "" {
		return e.Text
	}
	return e.URL + ": " + e.Text
}

// Unreachable reports whether err says that no node gave an answer.
func Unreachable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 0
}

type request struct {
	method string
	path   string // escaped, with the query
	header http.Header
	// body opens the body anew for each try; nil: none. size -1: not known.
	body func() (io.ReadCloser, error)
	size int64
	once bool // the body can be opened only once: look for a ready node first
	// twiceDiffers: sending it twice is not the same as once.
	twiceDiffers bool
}

// answer is a response and what ends its context.
type answer struct {
	*http.Response
	idle *idle
}

func (a *answer) close() {
	_ = a.Body.Close() // what was wanted is read
	a.idle.stop()
}

// do sends r to one URL after the other.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	if len(c.urls) == 0 {
		return nil, &Error{ErrorBody: admin.ErrorBody{Code: "no_address", Text: "no admin address given", Hint: "use --cluster FILE, --admin URL or RAIN_CLUSTER"}}
	}
	c.mu.Lock()
	first := c.first
	c.mu.Unlock()
	var errs []error
	repeats := false
	for i := range c.urls {
		n := (first + i) % len(c.urls)
		a, sent, err := c.try(ctx, c.urls[n], r)
		if err == nil {
			c.mu.Lock()
			c.first = n
			c.mu.Unlock()
			return a, nil
		}
		var f final
		if errors.As(err, &f) {
			var e *Error
			if errors.As(f.error, &e) {
				e.Repeated = repeats
			}
			return nil, f.error
		}
		errs = append(errs, err)
		repeats = repeats || sent
		if ctx.Err() != nil || sent && r.once {
			break
		}
		if sent && r.twiceDiffers {
			return nil, unknown(c.urls[n], err)
		}
	}
	return nil, gather(errs)
}

func unknown(u string, err error) error {
	return &Error{Status: 503, URL: u, ErrorBody: admin.ErrorBody{Code: "outcome_unknown",
		Text: "it is not known whether the order was carried out: " + err.Error(), Hint: "look before you try again"}}
}

// gather prefers what a node said to what the network did.
func gather(errs []error) error {
	var texts []string
	for _, err := range errs {
		var e *Error
		if errors.As(err, &e) && e.Status != 0 {
			return err
		}
		texts = append(texts, err.Error())
	}
	return &Error{ErrorBody: admin.ErrorBody{Code: "unreachable",
		Text: "no node answered: " + strings.Join(texts, "; "), Hint: "are the nodes running? try again, or name other addresses with --admin"}}
}

// try sends r to one URL. sent says that a failed try may have had its effect.
func (c *Client) try(ctx context.Context, base string, r request) (a *answer, sent bool, err error) {
	change := r.method != "GET" && r.method != "HEAD"
	wait := c.Timeout
	switch {
	case len(c.urls) == 1 && !r.once:
	case change:
		// A frozen node takes connections and never answers: find out before
		// the whole time-out goes into it.
		if err := c.probe(ctx, base, r.once); err != nil {
			return nil, false, err
		}
	default:
		wait = max(c.Timeout/time.Duration(len(c.urls)), min(c.Timeout, time.Second))
	}
	id := newIdle(ctx, wait)
	defer func() {
		if err != nil {
			id.stop()
		}
	}()
	var body io.Reader
	if r.body != nil {
		rc, err := r.body()
		if err != nil {
			return nil, false, final{err}
		}
		body = &touching{rc, id}
	}
	req, err := http.NewRequestWithContext(id.ctx, r.method, base+r.path, body)
	if err != nil {
		return nil, false, fmt.Errorf("client: %s %s: %w", r.method, base, err)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.body != nil {
		req.ContentLength = r.size
		if r.size == 0 {
			req.Body = http.NoBody
		}
	}
	if req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		dialled := !(errors.As(err, &op) && op.Op == "dial")
		return nil, change && dialled, c.netError(base, err)
	}
	id.touch()
	if res.StatusCode < 300 || res.StatusCode == 304 {
		return &answer{Response: res, idle: id}, false, nil
	}
	e := c.readError(base, res)
	_ = res.Body.Close() // the error is read
	if res.StatusCode == 502 || res.StatusCode == 503 || res.StatusCode == 504 {
		return nil, e.Code == "outcome_unknown" || e.Code == "timeout", e
	}
	if e.Code == "wrong_node" {
		return nil, false, e
	}
	return nil, false, final{e}
}

// final is an error that the next node would give, too.
type final struct{ error }

func (c *Client) netError(base string, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the address, which we add ourselves, without query
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	return fmt.Errorf("%s: %w", base, err)
}

func (c *Client) readError(base string, res *http.Response) *Error {
	e := &Error{Status: res.StatusCode, URL: base}
	var body struct {
		Error admin.ErrorBody `json:"error"`
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && json.Unmarshal(b, &body) == nil && body.Error.Code != "" {
		e.ErrorBody = body.Error
		if e.Status == http.StatusUnauthorized {
			c.explain(e)
		}
		return e
	}
	e.Code, e.Text = "http_error", "HTTP status "+res.Status
	return e
}

// explain says of a refused token where it is from: the node cannot know.
func (c *Client) explain(e *Error) {
	switch {
	case c.token == "":
		e.Text = "this node wants the admin token, and none was given"
		e.Hint = "name the cluster's file with --cluster or RAIN_CLUSTER; or give what is in the node's [admin] token_file, by --token-file or RAIN_TOKEN"
	case c.TokenFrom != "":
		e.Text = "this node does not take the token from " + c.TokenFrom
		e.Hint = "is that of the cluster that runs here now? A demo writes a new demo.json and a new token each time: name its file with --cluster; on a real box give the token of the node's [admin] token_file"
	}
}

// probe asks a node for a sign of life, or whether it is ready for changes.
func (c *Client) probe(ctx context.Context, base string, ready bool) error {
	path := "/healthz"
	if ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, min(c.Timeout, time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", base+path, nil)
	if err != nil {
		return fmt.Errorf("client: %s: %w", base, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.netError(base, err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return c.readError(base, res)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 4096))
	return err
}

// call does r and reads a JSON answer into v, if v is not nil.
func (c *Client) call(ctx context.Context, r request, v any) error {
	ctx, cancel := c.bound(ctx, r)
	defer cancel()
	a, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer a.close()
	b, err := io.ReadAll(io.LimitReader(&touching{a.Body, a.idle}, maxAnswer))
	if err != nil {
		return fmt.Errorf("client: reading the answer of %s: %w", a.Request.URL.Host, err)
	}
	if v == nil || a.StatusCode == 204 {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("client: %s sent an answer that is not understood (is it an admin address?): %w", a.Request.URL.Host, err)
	}
	return nil
}

func (c *Client) bound(ctx context.Context, r request) (context.Context, context.CancelFunc) {
	if r.body == nil || r.size >= 0 && r.size < 1<<20 {
		return context.WithTimeout(ctx, c.Timeout)
	}
	return context.WithCancel(ctx)
}

// idle cancels a context after some time without a touch.
type idle struct {
	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
	d      time.Duration
}

func newIdle(ctx context.Context, d time.Duration) *idle {
	id := &idle{d: d}
	id.ctx, id.cancel = context.WithCancel(ctx)
	id.timer = time.AfterFunc(d, id.cancel)
	return id
}

func (id *idle) touch() { id.timer.Reset(id.d) }

func (id *idle) stop() {
	id.timer.Stop()
	id.cancel()
}

type touching struct {
	io.ReadCloser
	idle *idle
}

func (t *touching) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if n > 0 {
		t.idle.touch()
	}
	return n, err
}
