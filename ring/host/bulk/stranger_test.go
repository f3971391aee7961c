package bulk

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

func TestWrongKey(t *testing.T) {
	s := serve(t, nil)
	c := client(t, otherKey, s.Addrs()...)
	if _, err := c.Dial(t.Context(), serverID, "echo"); !errors.Is(err, ErrNotProven) {
		t.Errorf("Dial with a wrong key = %v", err)
	}
	eventually(t, "the failure is counted", func() bool { return s.Stats().Unproven == 1 })

	// One that does not mind what the server proves gets nothing either.
	other, err := newIdentity(clientID, otherKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg := other.client(serverID, nil)
	cfg.VerifyConnection = nil
	for _, certs := range [][]tls.Certificate{cfg.Certificates, nil} {
		cfg.Certificates = certs
		conn, err := tls.Dial("tcp", s.Addrs()[0].String(), cfg)
		if err != nil {
			continue
		}
		_, _ = conn.Write([]byte("\x04echo"))
		if n, err := conn.Read(make([]byte, 9)); err == nil {
			t.Errorf("a stranger read %d bytes", n)
		}
		conn.Close()
	}
	eventually(t, "both are counted", func() bool { return s.Stats().Unproven == 3 })
	if st := s.Stats(); st.Accepted != 0 {
		t.Errorf("%+v", st)
	}
}

func TestSlowAndForeignHandshakes(t *testing.T) {
	s := serve(t, func(c *Config) {
		c.HandshakeTimeout = 100 * time.Millisecond
		c.MaxPerHost = 3
	})
	var strangers []net.Conn
	for _, says := range []string{"", "\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n"} {
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, says)
		strangers = append(strangers, conn)
	}
	for _, conn := range strangers { // the server closes them
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			t.Errorf("a stranger was still connected: %v", err)
		}
	}
	eventually(t, "all are counted", func() bool { return s.Stats().Unproven == 3 })
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestLimits(t *testing.T) {
	s := serve(t, func(c *Config) { c.MaxPerHost = 2; c.MaxConns = 2 })
	c := client(t, key, s.Addrs()...)
	var held []net.Conn
	for range 2 {
		conn, err := c.Dial(t.Context(), serverID, "echo")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	if _, err := c.Dial(t.Context(), serverID, "echo"); !errors.Is(err, ErrBusy) {
		t.Errorf("Dial above MaxConns = %v", err)
	}
	held[0].Close()
	eventually(t, "a place is free", func() bool { return s.Stats().Open == 1 })
	conn, err := c.Dial(t.Context(), serverID, "echo")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer held[1].Close()

	// strangers take all places for handshakes
	for range 2 {
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	eventually(t, "they are in", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.nPending == 2 })
	before := s.Stats().Refused
	if _, err := c.Dial(t.Context(), serverID, "echo"); err == nil {
		t.Error("Dial above MaxPerHost worked")
	}
	if s.Stats().Refused != before+1 {
		t.Errorf("%+v", s.Stats())
	}
}

// What a stranger says before he has proven anything: the server must end it.
func FuzzGreeting(f *testing.F) {
	f.Add([]byte("\x04echo"))
	f.Add([]byte("\x00"))
	f.Add([]byte("\xff\xff"))
	f.Add([]byte("\x84echo"))
	id, err := newIdentity(serverID, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Server{cfg: DefaultConfig(), proven: make(chan struct{}, 1),
			services: map[string]Handler{"echo": echo}, bundles: map[token]joinable{}}
		s.proof.Store(&proof{id: id, server: id.server()})
		here, there := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			defer there.Close()
			peer := tls.Client(there, id.client(serverID, nil))
			if peer.HandshakeContext(t.Context()) != nil {
				return
			}
			wg.Go(func() { _, _ = io.Copy(io.Discard, peer) })
			_, _ = peer.Write(b)
			_ = peer.CloseWrite()
		})
		g, err := s.greet(t.Context(), here)
		named := len(b) >= 5 && string(b[1:5]) == "echo" && b[0]&^bundleBit == 4
		if (err == nil) != named || err == nil && (g.peer != serverID || (g.stream != nil) != (b[0] != 4)) {
			t.Errorf("greeting %x: %+v, %v", b, g, err)
		}
		if err == nil {
			g.conn.Close()
		}
		here.Close()
		wg.Wait()
	})
}
