package snow

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"rain/ring"
	"rain/snow/site"
	"rain/snow/site/sitetest"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// fakeCluster is a node whose lease and VIP the test sets.
type fakeCluster struct {
	until    atomic.Int64
	holds    atomic.Bool
	isolated atomic.Bool
}

func (f *fakeCluster) Now() ring.Instant        { return 100 }
func (f *fakeCluster) LeaseUntil() ring.Instant { return ring.Instant(f.until.Load()) }
func (f *fakeCluster) Holds(netip.Addr) bool    { return f.holds.Load() }
func (f *fakeCluster) Isolated() bool           { return f.isolated.Load() }

func (f *fakeCluster) lease(on bool) {
	f.until.Store(50)
	if on {
		f.until.Store(1000)
	}
}

var published = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const alphabet = "abcdefghijklmnopqrstuvwxyz"

func testSite() fstest.MapFS {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), ModTime: published} }
	return fstest.MapFS{
		"index.html":        file("<h1>home</h1>"),
		"a.txt":             file(alphabet),
		"empty.txt":         file(""),
		"docs/index.html":   file("docs"),
		"docs/ü x.txt":      file("umlaut"),
		"style.css":         file(strings.Repeat("body{} ", 30)),
		"style.css.br":      file("BR"),
		"style.css.gz":      file("GZIP!"),
		"style.css.zst":     file("ZSTD"),
		"mid.bin":           file(strings.Repeat("0123456789", 3000)),
		"big.bin":           file(strings.Repeat("0123456789abcdef", 64<<10)),
		"memory.bin":        file(strings.Repeat("x", 1<<20)),
		"404.html":          file("lost here"),
		"folder.d/deep.txt": file("deep"),
	}
}

type rig struct {
	t       testing.TB
	store   *sitetest.Store
	pub     *site.Publisher
	cluster *fakeCluster
	server  *Server
	own     string
	vip     string
}

var vipAddr = netip.MustParseAddr("192.0.2.1")

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	return newRigWith(t, change, func(*Deps) {})
}

func newRigWith(t testing.TB, change func(*Config), more func(*Deps)) *rig {
	t.Helper()
	r := &rig{t: t, store: sitetest.New(), cluster: &fakeCluster{}}
	r.store.Dir = t.TempDir()
	r.cluster.lease(true)
	r.cluster.holds.Store(true)
	var n atomic.Int64
	r.pub = site.NewPublisher(r.store, func() time.Time { return published.Add(time.Hour) }, func() string { return fmt.Sprint(n.Add(1)) })
	cfg := DefaultConfig()
	cfg.NodeName, cfg.NodeHeader = "n1", true
	if change != nil {
		change(&cfg)
	}
	deps := Deps{Content: r.store, Cluster: r.cluster}
	more(&deps)
	var err error
	if r.server, err = New(cfg, deps, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := r.server.Mount("/mounted", mountedHandler); err != nil {
		t.Fatal(err)
	}
	own, vip := r.listen(), r.listen()
	r.own, r.vip = own.Addr().String(), vip.Addr().String()
	done := make(chan error, 2)
	go func() { done <- r.server.ServeOwn(own) }()
	go func() { done <- r.server.ServeVIP(vip, vipAddr) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := r.store.Opened(); n != 0 {
			t.Errorf("%d objects are still open", n)
		}
	})
	return r
}

func (r *rig) listen() net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	return ln
}

func (r *rig) publish(host string, files fstest.MapFS, def bool) site.Result {
	r.t.Helper()
	res, err := r.pub.Publish(context.Background(), host, files, def)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

// client is a raw connection.
type client struct {
	t testing.TB
	net.Conn
	br *bufio.Reader
}

func (r *rig) dial(addr string) *client {
	r.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return &client{r.t, c, bufio.NewReader(c)}
}

func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		c.t.Fatal(err)
	}
}

type answer struct {
	*http.Response
	body string
}

func (c *client) read(method string) answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading the response: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("reading the body: %v", err)
	}
	return answer{resp, string(b)}
}

// closed asserts that nothing more comes.
func (c *client) closed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.br); len(b) > 0 || err != nil && strings.Contains(err.Error(), "timeout") {
		c.t.Fatalf("connection not closed: %d bytes %.80q, %v", len(b), b, err)
	}
}

// get asks on a new connection, with more header lines.
func (r *rig) get(target string, headers ...string) answer {
	r.t.Helper()
	return r.ask("GET", target, headers...)
}

func (r *rig) ask(method, target string, headers ...string) answer {
	r.t.Helper()
	c := r.dial(r.own)
	defer c.Close()
	h := "Host: a.test\r\n"
	for _, l := range headers {
		h += l + "\r\n"
	}
	c.send(method + " " + target + " HTTP/1.1\r\n" + h + "\r\n")
	return c.read(method)
}
