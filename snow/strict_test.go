package snow

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.MaxBody = 64 << 10 })
	r.publish("a.test", testSite(), false)
	const ok = "GET /a.txt HTTP/1.1\r\nHost: a.test\r\n"
	for _, tc := range []struct {
		name, raw string
		code      int
	}{
		{"no method", " / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		{"no version", "GET /\r\nHost: a.test\r\n\r\n", 400},
		{"garbage", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
		{"no slash", "GET a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		{"other scheme", "GET ftp://a.test/a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		{"user in target", "GET http://u@a.test/a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		{"no host", "GET /a.txt HTTP/1.1\r\n\r\n", 400},
		{"two hosts", ok + "Host: b.test\r\n\r\n", 400},
		{"HTTP/2.0", "GET /a.txt HTTP/2.0\r\nHost: a.test\r\n\r\n", 505},
		{"folded", ok + "X: 1\r\n 2\r\n\r\n", 400},
		{"bare LF", ok + "X: 1\nY: 2\r\n\r\n", 400},
		{"space before colon", ok + "X : 1\r\n\r\n", 400},
		{"control in value", ok + "X: a\x01b\r\n\r\n", 400},
		{"length and chunked", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"chunked and length", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
		{"two lengths", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
		{"signed length", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\nx", 400},
		{"list of lengths", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1, 1\r\n\r\nx", 400},
		{"odd encoding", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n", 400},
		{"identity", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n", 400},
		{"two encodings", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"1.0 chunked", "POST /mounted/x HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"bad chunk", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400},
		{"many headers", ok + strings.Repeat("X: 1\r\n", 100) + "\r\n", 431},
		{"large headers", ok + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 20) + "\r\n", 431},
		{"long target", "GET /" + strings.Repeat("a", MaxURI) + " HTTP/1.1\r\nHost: a.test\r\n\r\n", 414},
		{"endless target", "GET /" + strings.Repeat("a", 3*HeaderBytes) + " HTTP/1.1\r\nHost: a.test\r\n\r\n", 414},
		{"large body", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70000), 413},
		{"large body of a GET", ok + "Content-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000), 413},
		{"large chunked body", "POST /mounted/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n" + strings.Repeat("x", 0x11170) + "\r\n0\r\n\r\n", 413},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := r.dial(r.own)
			c.send(tc.raw)
			// What follows a bad request must never be answered.
			_, _ = io.WriteString(c, "GET /index.html HTTP/1.1\r\nHost: a.test\r\n\r\n")
			if a := c.read("GET"); a.StatusCode != tc.code || !a.Close {
				t.Errorf("%d, close %v; want %d and a close", a.StatusCode, a.Close, tc.code)
			}
			c.closed()
		})
	}
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	for _, tc := range []struct {
		name, version, header string
		stays                 bool
	}{
		{"1.1", "1.1", "", true},
		{"1.1 close", "1.1", "Connection: close\r\n", false},
		{"list with close", "1.1", "Connection: foo, close\r\n", false},
		{"upper case", "1.1", "Connection: CLOSE\r\n", false},
		{"close in another line", "1.1", "Connection: close\r\nConnection: foo\r\n", false},
		{"not close", "1.1", "Connection: closed\r\n", true},
		{"1.0", "1.0", "", false},
		{"1.0 keep-alive", "1.0", "Connection: keep-alive\r\n", true},
		{"1.0 both", "1.0", "Connection: keep-alive, close\r\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := r.dial(r.own)
			c.send("GET /a.txt HTTP/" + tc.version + "\r\nHost: a.test\r\n" + tc.header + "\r\n")
			if a := c.read("GET"); a.body != alphabet {
				t.Fatalf("%d %q", a.StatusCode, a.body)
			}
			if !tc.stays {
				c.closed()
				return
			}
			c.send("GET /docs/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
			if a := c.read("GET"); a.body != "docs" {
				t.Errorf("second request: %d %q", a.StatusCode, a.body)
			}
		})
	}
}

func TestPipelined(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	c := r.dial(r.own)
	names := []string{"a.txt", "mid.bin", "empty.txt", "big.bin", "a.txt", "big.bin", "docs/index.html"}
	go func() {
		for _, n := range names {
			_, _ = io.WriteString(c.Conn, "GET /"+n+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
		}
	}()
	for _, n := range names {
		if a := c.read("GET"); a.body != string(testSite()[n].Data) {
			t.Errorf("%s: %d bytes", n, len(a.body))
		}
	}
}

func TestSlowSender(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.HeaderTimeout, c.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond })
	r.publish("a.test", testSite(), false)
	c := r.dial(r.own)
	c.send("GET /a.txt HTTP/1.1\r\nHost: ")
	if a := c.read("GET"); a.StatusCode != 408 {
		t.Errorf("half a header: %d", a.StatusCode)
	}
	c.closed()
	silent := r.dial(r.own)
	silent.closed()
	idle := r.dial(r.own)
	idle.send("GET /a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n")
	idle.read("GET")
	idle.closed()
}

// smallListener gives sockets with small buffers, so that a stall shows soon.
func (r *rig) smallListener() net.Listener { return smallBuffers{r.listen()} }

type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

// A client that takes nothing is dropped; one that takes a little now and then,
// far slower than one stall time for the whole, gets everything.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	// Well above the 200 ms after which a kernel probes a full window, and above
	// what a busy machine keeps the slow client waiting.
	const stall = 3 * time.Second
	r := newRig(t, func(c *Config) { c.WriteStall = stall })
	files := testSite()
	r.publish("a.test", files, false)
	ln := r.smallListener()
	done := make(chan error, 1)
	go func() { done <- r.server.ServeOwn(ln) }()
	defer func() {
		ln.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	open := func(name string) *client {
		c := r.dial(ln.Addr().String())
		if err := c.Conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
			t.Fatal(err)
		}
		c.send("GET /" + name + " HTTP/1.1\r\nHost: a.test\r\n\r\n")
		return c
	}
	for _, name := range []string{"big.bin", "memory.bin"} {
		dead := open(name)
		for _, want := range []int{1, 0} { // it comes, and it is dropped
			for end := time.Now().Add(patience); r.server.Stats().Conns != want; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%s: %d connections are open, want %d", name, r.server.Stats().Conns, want)
				}
			}
		}
		if got, _ := io.Copy(io.Discard, dead); got >= 1<<20 {
			t.Errorf("%s: got all %d bytes", name, got)
		}
		slow := open(name)
		got := 0
		buf := make([]byte, 128<<10)
		for got < 1<<20 {
			n, err := io.ReadFull(slow.br, buf)
			if got += n; err != nil {
				t.Fatalf("%s: a slow client was dropped after %d bytes: %v", name, got, err)
			}
			time.Sleep(stall / 12)
		}
		slow.Close()
		for end := time.Now().Add(patience); r.server.Stats().Conns > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.MaxConnsPerIP, c.MaxConns = 2, 3 })
	r.publish("a.test", testSite(), false)
	var open []*client
	for range 2 {
		c := r.dial(r.own)
		c.send("GET /a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n")
		c.read("GET")
		open = append(open, c)
	}
	c := r.dial(r.own)
	if a := c.read("GET"); a.StatusCode != 429 || !a.Close {
		t.Errorf("third connection: %d", a.StatusCode)
	}
	open[0].Close()
	for end := time.Now().Add(patience); r.server.Stats().Conns > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a closed connection is still counted")
		}
	}
	if a := r.get("/a.txt"); a.StatusCode != 200 {
		t.Errorf("after one left: %d", a.StatusCode)
	}
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/", "*", "http://h/x?y", "//", "/a%", "/..", "/a/./b//", "/x?y#z"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, uri []byte) {
		before := string(uri)
		got, ok := parseTarget(nil, uri)
		if string(uri) != before {
			t.Fatalf("%q was changed to %q", before, uri)
		}
		if !ok {
			return
		}
		p := string(got.path)
		if p == "" || p[0] != '/' || strings.Contains(p, "//") || strings.Contains(p, "/../") || strings.Contains(p, "/./") ||
			strings.HasSuffix(p, "/..") || strings.HasSuffix(p, "/.") || strings.ContainsAny(p, "\x00\r\n") {
			t.Fatalf("%q became %q", uri, p)
		}
		again, ok := parseTarget(nil, appendEscapedPath(nil, got.path))
		if !ok || string(again.path) != p {
			t.Fatalf("%q, escaped and parsed again, is %q", p, again.path)
		}
	})
}

func FuzzHostName(f *testing.F) {
	for _, s := range []string{"a.test", "A.TEST.:80", "[::1]:8080", "", ":", "[", "x:y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		name, ok := hostName(raw)
		if !ok {
			return
		}
		if len(name) > len(raw) || strings.ContainsAny(name, "/%ABCXYZ[] \\") {
			t.Fatalf("%q became %q", raw, name)
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("Host: a\r\nConnection: x, close\r\n\r\n"))
	f.Add([]byte("Content-Length: 1\nTransfer-Encoding: chunked\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if n := inspect(raw).lines; n > bytes.Count(raw, []byte("\n")) {
			t.Fatalf("%d lines in %q", n, raw)
		}
	})
}
