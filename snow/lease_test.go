package snow

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"rain/snow/site/sitetest"
)

const getHome = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"

func TestLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.LeaseWait = 100 * time.Millisecond })
	r.publish("a.test", testSite(), false)
	c := r.dial(r.vip)
	c.send(getHome)
	if a := c.read("GET"); a.StatusCode != 200 || a.Close {
		t.Fatalf("with a lease: %d, close %v", a.StatusCode, a.Close)
	}
	r.cluster.lease(false)
	c.send(getHome)
	c.closed() // waited, then closed without a byte
	bad := r.dial(r.vip)
	bad.send("GARBAGE\r\n\r\n")
	bad.closed() // not even a 400
	if a := r.get("/"); a.StatusCode != 200 {
		t.Errorf("own address without a lease: %d", a.StatusCode)
	}
	if n := r.server.Stats().LeaseClosed; n != 1 {
		t.Errorf("LeaseClosed = %d", n)
	}
}

func TestLateLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.LeaseWait = patience })
	r.publish("a.test", testSite(), false)
	for _, lack := range []func(bool){func(b bool) { r.cluster.lease(!b) }, func(b bool) { r.cluster.holds.Store(!b) }} {
		lack(true)
		c := r.dial(r.vip)
		c.send(getHome)
		if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if b, err := c.br.ReadByte(); err == nil {
			t.Fatalf("answered without a lease: %q", b)
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		lack(false)
		if a := c.read("GET"); a.StatusCode != 200 {
			t.Errorf("late lease: %d", a.StatusCode)
		}
	}
}

// After a planned hand-over the connections that were accepted before get their
// answers, and are closed; new ones do not.
func TestHandOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.LeaseWait = 50 * time.Millisecond })
	r.publish("a.test", testSite(), false)
	old := r.dial(r.vip)
	old.send(getHome)
	old.read("GET")
	silent := r.dial(r.vip) // its request is on its way
	waitConns(t, r.server, 2)
	r.cluster.holds.Store(false)
	for _, c := range []*client{old, silent} {
		c.send(getHome)
		if a := c.read("GET"); a.StatusCode != 200 || !a.Close {
			t.Errorf("old connection: %d, close %v", a.StatusCode, a.Close)
		}
		c.closed()
	}
	fresh := r.dial(r.vip)
	fresh.send(getHome)
	fresh.closed()
	if n := r.server.Stats().LeaseClosed; n != 1 {
		t.Errorf("%d requests were closed without an answer, want the new one alone", n)
	}
}

// Each response is of one version, and after a publish returned, of that or a
// later one.
func TestPublishIsAtomic(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	version := func(v int) fstest.MapFS {
		body := fmt.Sprintf("%08d", v)
		return fstest.MapFS{
			"index.html": {Data: []byte(strings.Repeat(body, 16))},
			"large.bin":  {Data: []byte(strings.Repeat(body, 16<<10))},
			"same.txt":   {Data: []byte("same")},
		}
	}
	r.publish("a.test", version(1), false)
	var mu sync.Mutex
	newest := 1
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				least := newest
				mu.Unlock()
				a := r.get([]string{"/", "/large.bin"}[i%2])
				var got int
				if _, err := fmt.Sscanf(a.body, "%08d", &got); err != nil || a.StatusCode != 200 {
					t.Errorf("%d %.40q", a.StatusCode, a.body)
					return
				}
				if want := strings.Repeat(fmt.Sprintf("%08d", got), len(a.body)/8); a.body != want {
					t.Error("a response of two versions")
				}
				if got < least {
					t.Errorf("version %d after the publish of %d", got, least)
				}
			}
		})
	}
	for v := 2; v <= 15; v++ {
		r.publish("a.test", version(v), false)
		mu.Lock()
		newest = v
		mu.Unlock()
	}
	close(stop)
	wg.Wait()
}

func TestRollbackAndFailingStore(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	page := func(s string) fstest.MapFS { return fstest.MapFS{"index.html": {Data: []byte(s)}} }
	r.publish("a.test", page("one"), false)
	r.publish("a.test", page("two"), false)
	if a := r.get("/"); a.body != "two" {
		t.Fatalf("%q", a.body)
	}
	if _, err := r.pub.Rollback(context.Background(), "a.test", 0); err != nil {
		t.Fatal(err)
	}
	if a := r.get("/"); a.body != "one" {
		t.Errorf("after the rollback: %q", a.body)
	}
}

func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	cluster := &fakeCluster{}
	s, err := New(DefaultConfig(), Deps{Content: sitetest.New(), Cluster: cluster}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeVIP(ln, vipAddr) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, getHome); err != nil { // will wait for a lease
		t.Fatal(err)
	}
	waitConns(t, s, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	time.AfterFunc(20*time.Millisecond, func() { cluster.holds.Store(true); cluster.lease(true) })
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 421 ")) || !bytes.Contains(b, []byte("Connection: close")) {
		t.Errorf("%q, %v", b, err)
	}
	late, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ServeOwn(late); err == nil {
		t.Error("serves after Shutdown")
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	r := newRig(t, func(c *Config) { c.AccessLog, c.AccessFormat = path, "combined" })
	r.publish("a.test", testSite(), false)
	r.get("/a.txt", "User-Agent: test \"quoted\"")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := r.server.Reopen(); err != nil {
		t.Fatal(err)
	}
	r.get("/big.bin", "Range: bytes=0-99999")
	r.ask("HEAD", "/none")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, p := range []string{path + ".1", path} {
		b, err := os.ReadFile(p)
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %d bytes, %v", p, len(b), err)
		}
		all += string(b)
	}
	for _, want := range []string{
		`"GET /a.txt HTTP/1.1" 200 26 "-" "test \x22quoted\x22"`, `"GET /big.bin HTTP/1.1" 206 100000 "-" "-"`, `"HEAD /none HTTP/1.1" 404 0 "-" "-"`,
	} {
		if strings.Count(all, want) != 1 {
			t.Errorf("%s is not once in:\n%s", want, all)
		}
	}
}
