package bulk

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"rain/ring"
)

// switchboard is a Gate: what is cut is a peer and an end.
type switchboard struct {
	mu   sync.Mutex
	cut  map[netip.AddrPort]bool
	news chan struct{}
	ask  chan struct{} // gets a value each time that somebody finds a cut
}

func newSwitchboard() *switchboard {
	return &switchboard{cut: map[netip.AddrPort]bool{}, news: make(chan struct{}), ask: make(chan struct{}, 1000)}
}

func (s *switchboard) Cut(peer ring.NodeID, end netip.AddrPort) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cut[end] || peer != clientID && peer != serverID {
		return false, nil
	}
	select {
	case s.ask <- struct{}{}:
	default:
	}
	return true, s.news
}

func (s *switchboard) set(end netip.AddrPort, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut[end] = cut
	close(s.news)
	s.news = make(chan struct{})
}

// A cut holds the bytes of a connection back, at either end, and a heal lets them
// go on; nobody is told but by his own deadline.
func TestCutHoldsBytesBack(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		t.Run(side, func(t *testing.T) {
			g := newSwitchboard()
			s := serve(t, func(c *Config) {
				if side == "server" {
					c.Gate = g
				}
			})
			c := client(t, key, s.Addrs()[0])
			if side == "client" {
				c.SetGate(g)
			}
			conn, err := c.Dial(t.Context(), serverID, "echo")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := ask(conn); err != nil {
				t.Fatal(err)
			}
			g.set(s.Addrs()[0], true)
			if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() { answered <- ask(conn) }() // ends by the deadline, or when the link heals
			<-g.ask
			if side == "server" {
				if err := <-answered; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("over a cut link: %v", err)
				}
				return
			}
			if err := conn.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-answered:
				t.Fatalf("over a cut link: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			g.set(s.Addrs()[0], false)
			if err := <-answered; err != nil {
				t.Errorf("after the heal: %v", err)
			}
		})
	}
}

// Over a cut link no connection comes about; the peer's other link is taken.
func TestDialOverCutLink(t *testing.T) {
	g := newSwitchboard()
	s := serve(t, func(c *Config) { c.Listen = []netip.AddrPort{local, local}; c.Gate = g })
	for _, side := range []string{"client", "server"} {
		c := client(t, key, s.Addrs()...)
		if side == "client" {
			c.SetGate(g)
		}
		g.set(s.Addrs()[0], true)
		for range 2 { // it begins with another address each time
			conn, err := c.Dial(t.Context(), serverID, "echo")
			if err != nil {
				t.Fatalf("%s: one link of two is cut: %v", side, err)
			}
			if at := conn.RemoteAddr().String(); at != s.Addrs()[1].String() {
				t.Errorf("%s: a connection over the cut link, to %s", side, at)
			}
			conn.Close()
		}
		g.set(s.Addrs()[1], true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if conn, err := c.Dial(ctx, serverID, "echo"); err == nil {
			conn.Close()
			t.Errorf("%s: a connection with all links cut", side)
		}
		cancel()
		g.set(s.Addrs()[0], false)
		g.set(s.Addrs()[1], false)
	}
}

// What waits for a link to heal ends with its connection, and with the server.
func TestCloseEndsTheWait(t *testing.T) {
	g := newSwitchboard()
	s, stop := serveUntil(t, func(c *Config) { c.Gate = g })
	c := client(t, key, s.Addrs()[0])
	c.SetGate(g)
	conn, err := c.Dial(t.Context(), serverID, "echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(conn); err != nil {
		t.Fatal(err)
	}
	g.set(s.Addrs()[0], true)
	done := make(chan error, 1)
	go func() { done <- ask(conn) }() // ended by the close below
	<-g.ask
	// A farewell would wait for the link: close what is under it, as Call does.
	under := conn.(interface{ NetConn() net.Conn }).NetConn()
	if err := under.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write on a closed connection: %v", err)
	}
	stop()
}
