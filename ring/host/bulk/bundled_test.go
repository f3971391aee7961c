package bulk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"rain/ring"
)

// twoLinks starts a server with two addresses whose service "back" sends all
// that comes back.
func twoLinks(t *testing.T) (*Server, func()) {
	t.Helper()
	s, stop := serveUntil(t, func(c *Config) { c.Listen = []netip.AddrPort{local, local} })
	s.Handle("back", func(_ context.Context, _ ring.NodeID, conn net.Conn) { _, _ = io.Copy(conn, conn) })
	return s, stop
}

func TestBundleOverTwoLinks(t *testing.T) {
	s, _ := twoLinks(t)
	c := client(t, key, s.Addrs()...)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	legs := 0
	for range 20 { // the same bundle again and again
		err := c.Call(t.Context(), serverID, "back", func(conn net.Conn) error {
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() { _, _ = conn.Write(data) })
			got := make([]byte, len(data))
			_, err := io.ReadFull(conn, got)
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("what came back differs")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		legs = max(legs, s.Stats().Open)
	}
	if legs != 2 {
		t.Errorf("%d connections were open, want one for each link", legs)
	}
	if n := s.Stats().Accepted; n > 2 {
		t.Errorf("%d connections for calls one after the other, want 2", n)
	}
}

func TestBundleOfAnotherPeerCannotBeJoined(t *testing.T) {
	s, _ := twoLinks(t)
	c := client(t, key, s.Addrs()...)
	conn, err := c.Dial(t.Context(), serverID, "back")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tok := conn.(*clientBundle).token
	other, err := NewClient(key, clientID+1)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetPeer(serverID, s.Addrs())
	for _, ask := range []request{{join: true, token: tok}, {join: true}} {
		if _, err := other.try(t.Context(), Route{Remote: s.Addrs()[0]}, 5*time.Second, serverID, &ask); !errors.Is(err, ErrUnknownService) {
			t.Errorf("joining another's bundle: %v", err)
		}
	}
}

// When the server stops, a call that runs fails soon, and nothing is left over.
func TestBundleEndsWithTheServer(t *testing.T) {
	s, stop := twoLinks(t)
	c := client(t, key, s.Addrs()...)
	began := make(chan struct{})
	failed := make(chan error)
	go func() {
		failed <- c.Call(t.Context(), serverID, "back", func(conn net.Conn) error {
			if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
			close(began)
			_, err := io.Copy(io.Discard, conn)
			return err
		})
	}()
	<-began
	stop()
	select {
	case <-failed: // an error, or the end of the stream
	case <-time.After(10 * time.Second):
		t.Error("the call goes on without a server")
	}
}
