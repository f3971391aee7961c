package snow

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// waitConns waits until the server has accepted so many.
func waitConns(t *testing.T, s *Server, n int) {
	t.Helper()
	for end := time.Now().Add(patience); s.Stats().Conns != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are open, want %d", s.Stats().Conns, n)
		}
	}
}

// ended asserts an end without a reset.
func (c *client) ended() {
	c.t.Helper()
	if b, err := io.ReadAll(c.br); len(b) > 0 || err != nil {
		c.t.Errorf("the connection did not end in order: %q, %v", b, err)
	}
}

func TestLeaveClosesIdleConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	silent, idle, own, busy := r.dial(r.vip), r.dial(r.vip), r.dial(r.own), r.dial(r.vip)
	for _, c := range []*client{idle, own} {
		c.send(getHome)
		c.read("GET")
	}
	busy.send(getHome[:20])
	waitConns(t, r.server, 4)
	r.server.Leave(vipAddr, 0)
	silent.ended()
	idle.ended()
	busy.send(getHome[20:])
	if a := busy.read("GET"); a.StatusCode != 200 || !a.Close {
		t.Errorf("a request that had begun: %d, close %v", a.StatusCode, a.Close)
	}
	busy.ended()
	own.send(getHome)
	if a := own.read("GET"); a.StatusCode != 200 || a.Close {
		t.Errorf("on another address: %d, close %v", a.StatusCode, a.Close)
	}
}

func TestStay(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	c := r.dial(r.vip)
	r.server.Leave(vipAddr, time.Hour)
	c.send(getHome)
	if a := c.read("GET"); a.StatusCode != 200 || !a.Close {
		t.Errorf("while the address goes: %d, close %v", a.StatusCode, a.Close)
	}
	c = r.dial(r.vip)
	waitConns(t, r.server, 1)
	r.server.Stay(vipAddr)
	for range 2 {
		c.send(getHome)
		if a := c.read("GET"); a.StatusCode != 200 || a.Close {
			t.Errorf("it stays: %d, close %v", a.StatusCode, a.Close)
		}
	}
}

func TestShutdownAnswersKeptConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.server.part = patience
	r.publish("a.test", testSite(), false)
	used, silent := r.dial(r.vip), r.dial(r.vip)
	used.send(getHome)
	used.read("GET")
	waitConns(t, r.server, 2)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- r.server.Shutdown(ctx) }()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", r.vip)
		if err != nil {
			break // nobody listens: the shutdown is under way
		}
		c.Close()
		if time.Now().After(end) {
			t.Fatal("listens still")
		}
	}
	r.cluster.holds.Store(false)
	for _, c := range []*client{used, silent} {
		c.send(getHome)
		if a := c.read("GET"); a.StatusCode != 200 || !a.Close {
			t.Errorf("a connection of before: %d, close %v", a.StatusCode, a.Close)
		}
		c.ended()
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// A request that the client had sent, and the kernel has, when the end came: a
// read whose deadline is over does not look at it. It is answered all the same.
func TestLeaveAnswersWhatWasSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish("a.test", testSite(), false)
	for _, requests := range []int{0, 1} { // before the one in question
		c := newHeldConn()
		ln := &oneConn{conn: c, closed: make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- r.server.ServeVIP(ln, vipAddr) }()
		br := bufio.NewReader(c.answers)
		read := func() *http.Response {
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			return resp
		}
		for range requests {
			c.put(getHome, true)
			if resp := read(); resp.Close {
				t.Error("closed too early")
			}
		}
		c.waitReading()
		c.put(getHome, false)
		r.server.Leave(vipAddr, 0)
		if resp := read(); resp.StatusCode != 200 || !resp.Close {
			t.Errorf("after %d requests: %d, close %v", requests, resp.StatusCode, resp.Close)
		}
		if b, err := io.ReadAll(br); len(b) > 0 || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		ln.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// heldConn is a connection whose reader can be left asleep while data is there.
// As with the real ones, a Read whose deadline is over does not look at the data.
type heldConn struct {
	answers *io.PipeReader
	out     *io.PipeWriter

	mu       sync.Mutex
	cond     *sync.Cond
	in       bytes.Buffer
	awake    bool // data wakes the reader
	reading  bool
	deadline time.Time
	alarm    *time.Timer
}

func newHeldConn() *heldConn {
	c := &heldConn{}
	c.cond = sync.NewCond(&c.mu)
	c.answers, c.out = io.Pipe()
	return c
}

func (c *heldConn) put(s string, wake bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.WriteString(s)
	c.awake = wake
	c.cond.Broadcast()
}

// waitReading waits until the server sleeps in Read.
func (c *heldConn) waitReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.reading || c.in.Len() > 0 {
		c.cond.Wait()
	}
}

func (c *heldConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	over := func() bool { return !c.deadline.IsZero() && !time.Now().Before(c.deadline) }
	for first := true; ; first = false {
		switch {
		case over():
			return 0, os.ErrDeadlineExceeded
		case c.in.Len() > 0 && (first || c.awake):
			return c.in.Read(p)
		}
		c.reading = true
		c.cond.Broadcast()
		c.cond.Wait()
		c.reading = false
	}
}

func (c *heldConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.alarm != nil {
		c.alarm.Stop()
	}
	if !t.IsZero() {
		c.alarm = time.AfterFunc(time.Until(t), c.cond.Broadcast)
	}
	c.cond.Broadcast()
	return nil
}

func (c *heldConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *heldConn) Close() error                     { return c.out.Close() }
func (c *heldConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *heldConn) SetWriteDeadline(time.Time) error { return nil }
func (c *heldConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *heldConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.9:999"))
}

// oneConn is a listener for one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	if c, l.conn = l.conn, nil; c != nil {
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
