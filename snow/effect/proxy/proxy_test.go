package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/effect"
	"rain/snow/effect/effecttest"
	"rain/snow/queue"
)

// shop is the test application: it counts orders and has no idea of keys.
type shop struct {
	*httptest.Server
	orders  atomic.Int64
	entered chan struct{}
	leave   chan struct{} // orders wait for it; nil: they do not
}

func newShop(t *testing.T, wait bool) *shop {
	s := &shop{entered: make(chan struct{}, 10)}
	if wait {
		s.leave = make(chan struct{})
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := s.orders.Add(1)
		s.entered <- struct{}{}
		if s.leave != nil {
			<-s.leave
		}
		if string(body) == "much" {
			fmt.Fprint(w, strings.Repeat("x", maxAnswer+1))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "order %d: %s %s %s", n, r.Method, r.URL.RequestURI(), body)
	}))
	t.Cleanup(s.Close)
	return s
}

type node struct {
	h    fasthttp.RequestHandler
	l    *effecttest.Ledger
	stop func()
}

func start(t *testing.T, c *effecttest.Cluster, i int, url string) *node {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Name, cfg.Scope, cfg.URL = "shop", "site", url
	app, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ec := effect.DefaultConfig()
	ec.ClaimEvery, ec.LeaseWait, ec.Timeout = time.Millisecond, 10*time.Millisecond, 3*time.Second
	l := c.Node(i)
	s, err := effect.New(ec, l, []effect.Effect{app}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	n := &node{app.Handler(s), l, sync.OnceFunc(func() { cancel(); <-done })}
	t.Cleanup(n.stop)
	return n
}

func (n *node) post(key, body string) (int, string, bool) {
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/shop/order?x=1")
	ctx.Request.Header.SetHost("shop.example")
	if key != "" {
		ctx.Request.Header.Set("Idempotency-Key", key)
	}
	ctx.Request.SetBodyString(body)
	n.h(&ctx)
	return ctx.Response.StatusCode(), string(ctx.Response.Body()), len(ctx.Response.Header.Peek("Idempotency-Replayed")) > 0
}

func TestCalledOnce(t *testing.T) {
	s, c := newShop(t, false), effecttest.New(2)
	a, b := start(t, c, 1, s.URL), start(t, c, 2, s.URL)
	const want = "order 1: POST /shop/order?x=1 tea"
	if code, body, again := a.post("k", "tea"); code != 201 || body != want || again {
		t.Fatalf("%d %q %v", code, body, again)
	}
	for _, n := range []*node{a, b} {
		if code, body, again := n.post("k", "tea"); code != 201 || body != want || !again {
			t.Errorf("the repeat: %d %q %v", code, body, again)
		}
	}
	if code, _, _ := b.post("k", "coffee"); code != 422 {
		t.Errorf("another body: %d", code)
	}
	if code, body, _ := b.post("m", "much"); code != 502 || !strings.Contains(body, "answer_too_large") {
		t.Errorf("a long answer: %d %s", code, body)
	}
	if code, _, again := a.post("m", "much"); code != 502 || !again {
		t.Errorf("its repeat: %d", code)
	}
	if code, _, _ := a.post("l", strings.Repeat("x", queue.MaxInput)); code != 413 {
		t.Errorf("a long body: %d", code)
	}
	if code, _, _ := a.post("bad key", "x"); code != 400 {
		t.Errorf("a bad key: %d", code)
	}
	if n := s.orders.Load(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// The node dies between the application's answer and the record: the outcome is
// unknown, for ever, and the application is not called again.
func TestUnknown(t *testing.T) {
	s, c := newShop(t, true), effecttest.New(2)
	a, b := start(t, c, 1, s.URL), start(t, c, 2, s.URL)
	a.l.Hook(func(op *queue.Op) error {
		if op.Kind == queue.OpFinish {
			return errors.New("this node died")
		}
		return nil
	}, nil)
	died := make(chan struct{})
	go func() {
		defer close(died)
		a.post("k", "tea")
	}()
	<-s.entered
	if code, _, _ := b.post("k", "tea"); code != 409 {
		t.Errorf("while it runs: %d", code)
	}
	close(s.leave)
	c.Leave(1, 0)
	var code int
	var body string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if code, body, _ = b.post("k", "tea"); code != 409 {
			break
		}
	}
	if code != 503 || !strings.Contains(body, "outcome_unknown") {
		t.Errorf("after the death: %d %s", code, body)
	}
	a.stop()
	<-died
	if code, again, _ := b.post("k", "tea"); code != 503 || again != body {
		t.Errorf("later: %d %s", code, again)
	}
	if n := s.orders.Load(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// Nobody listens: the application was not called, a repeat tries again.
func TestNotReached(t *testing.T) {
	s, c := newShop(t, false), effecttest.New(1)
	url := s.URL
	s.Close()
	a := start(t, c, 1, url)
	for range 2 {
		if code, body, again := a.post("k", "tea"); code != 503 || !strings.Contains(body, "not_now") || again {
			t.Errorf("%d %s", code, body)
		}
	}
}

func FuzzInput(f *testing.F) {
	f.Add(call{"POST", "/a?b", "text/plain", []byte("x")}.append(nil))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseInput(b); err == nil && !bytes.Equal(c.append(nil), b) {
			t.Fatalf("accepted %x, writes it back as %x", b, c.append(nil))
		}
	})
}

func FuzzNote(f *testing.F) {
	f.Add(note{201, "text/plain", []byte("x")}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseNote(b); err == nil && !bytes.Equal(n.append(nil), b) {
			t.Fatalf("accepted %x, writes it back as %x", b, n.append(nil))
		}
	})
}
