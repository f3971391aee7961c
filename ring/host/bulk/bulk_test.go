package bulk

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/ring"
)

const (
	serverID ring.NodeID = 0x00010001
	clientID ring.NodeID = 0x00010002
)

var (
	key      = bytes.Repeat([]byte{7}, KeySize)
	otherKey = bytes.Repeat([]byte{8}, KeySize)
	local    = netip.MustParseAddrPort("127.0.0.1:0")
)

// echo answers each byte with the same byte.
func echo(_ context.Context, _ ring.NodeID, conn net.Conn) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return
		}
		if _, err := conn.Write(b[:]); err != nil {
			return
		}
	}
}

func ask(conn net.Conn) error {
	var b [1]byte
	if _, err := conn.Write([]byte{42}); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return err
	}
	if b[0] != 42 {
		return errors.New("a wrong answer")
	}
	return nil
}

// serve starts a server with the services "echo" and "who". The test ends it.
func serve(t *testing.T, change func(*Config)) *Server {
	t.Helper()
	s, _ := serveUntil(t, change)
	return s
}

func serveUntil(t *testing.T, change func(*Config)) (_ *Server, stop func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Key, cfg.ID, cfg.Listen = key, serverID, []netip.AddrPort{local}
	cfg.HandshakeTimeout = 10 * time.Second
	if change != nil {
		change(&cfg)
	}
	s, err := NewServer(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("echo", echo)
	s.Handle("who", func(_ context.Context, peer ring.NodeID, conn net.Conn) { _, _ = io.WriteString(conn, peer.String()) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return s, stop
}

func client(t *testing.T, key []byte, addrs ...netip.AddrPort) *Client {
	t.Helper()
	c, err := NewClient(key, clientID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.SetPeer(serverID, addrs)
	return c
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestDial(t *testing.T) {
	s := serve(t, nil)
	c := client(t, key, s.Addrs()...)
	for i := range 3 {
		conn, err := c.Dial(t.Context(), serverID, "who")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(conn)
		if err != nil || string(b) != clientID.String() {
			t.Errorf("the server takes us for %q, %v", b, err)
		}
		if resumed := conn.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState().DidResume; resumed != (i > 0) {
			t.Errorf("dial %d: resumed is %v", i, resumed)
		}
		conn.Close()
	}
	eventually(t, "all connections gone", func() bool { return s.Stats().Open == 0 })
	if st := s.Stats(); st.Accepted != 3 || st.Unproven+st.Refused+st.UnknownService != 0 {
		t.Errorf("%+v", st)
	}
}

func TestWrongID(t *testing.T) {
	s := serve(t, nil)
	c := client(t, key)
	c.SetPeer(9, s.Addrs())
	if _, err := c.Dial(t.Context(), 9, "echo"); !errors.Is(err, ErrOtherNode) || !strings.Contains(err.Error(), serverID.String()) {
		t.Errorf("Dial of another node = %v", err)
	}
	if _, err := c.Dial(t.Context(), 10, "echo"); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("Dial of an unknown node = %v", err)
	}
}

func TestUnknownService(t *testing.T) {
	s := serve(t, nil)
	c := client(t, key, s.Addrs()...)
	if _, err := c.Dial(t.Context(), serverID, "nothing"); !errors.Is(err, ErrUnknownService) {
		t.Errorf("Dial = %v", err)
	}
	for _, name := range []string{"", strings.Repeat("x", MaxService+1)} {
		if _, err := c.Dial(t.Context(), serverID, name); err == nil {
			t.Errorf("Dial of service %q worked", name)
		}
	}
	if st := s.Stats(); st.UnknownService != 1 || st.Accepted != 0 {
		t.Errorf("%+v", st)
	}
}

func TestCallKeepsConnections(t *testing.T) {
	s := serve(t, nil)
	c := client(t, key, s.Addrs()...)
	for range 20 {
		err := c.Call(t.Context(), serverID, "echo", func(conn net.Conn) error {
			err := ask(conn)
			return errors.Join(err, conn.SetDeadline(time.Unix(1, 0))) // it must not outlive the call
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Accepted; n != 1 {
		t.Errorf("20 calls took %d connections", n)
	}
	failure := errors.New("of the caller")
	if err := c.Call(t.Context(), serverID, "echo", func(net.Conn) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("Call = %v", err)
	}
	eventually(t, "the connection is closed", func() bool { return s.Stats().Open == 0 })
	var wg sync.WaitGroup
	for range 2 * maxIdle {
		wg.Go(func() {
			for range 10 {
				if err := c.Call(t.Context(), serverID, "echo", ask); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "no more than maxIdle stay", func() bool { return s.Stats().Open <= maxIdle })
	c.Close()
	eventually(t, "none stays", func() bool { return s.Stats().Open == 0 })
	if err := c.Call(t.Context(), serverID, "echo", ask); !errors.Is(err, ErrClosed) {
		t.Errorf("Call after Close = %v", err)
	}
}

func TestCallAfterTheServerCameBack(t *testing.T) {
	s, stop := serveUntil(t, nil)
	c := client(t, key, s.Addrs()...)
	if err := c.Call(t.Context(), serverID, "echo", ask); err != nil {
		t.Fatal(err)
	}
	stop()
	s2 := serve(t, nil)
	c.SetPeer(serverID, s2.Addrs())
	conn, ok := c.take(serverID, "echo")
	if ok { // where the system cannot tell, or the end is on its way still
		conn.Close()
	}
	if err := c.Call(t.Context(), serverID, "echo", ask); err != nil {
		t.Fatal(err)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	s := serve(t, nil)
	c := client(t, key, s.Addrs()...)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Call(ctx, serverID, "echo", func(conn net.Conn) error {
		cancel()
		_, err := conn.Read(make([]byte, 1)) // nothing will come
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Call = %v", err)
	}
}

// A frozen peer's kernel still takes connections. The other link must do.
func TestDialPassesByAFrozenAddress(t *testing.T) {
	frozen, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	s := serve(t, nil)
	c := client(t, key, frozen.Addr().(*net.TCPAddr).AddrPort(), s.Addrs()[0])
	for range 4 { // whichever is first
		conn, err := c.Dial(t.Context(), serverID, "echo")
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(conn); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	c.SetPeer(serverID, c.peers[serverID].addrs[:1])
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Dial(ctx, serverID, "echo"); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("Dial of a frozen peer = %v", err)
	}
}

func TestBulkBytes(t *testing.T) {
	s := serve(t, nil)
	s.Handle("sink", func(_ context.Context, _ ring.NodeID, conn net.Conn) {
		n, _ := io.CopyN(io.Discard, conn, 8<<20)
		_, _ = conn.Write([]byte{byte(n >> 20)})
	})
	c := client(t, key, s.Addrs()...)
	conn, err := c.Dial(t.Context(), serverID, "sink")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != 8 {
		t.Errorf("the sink took %d MiB, %v", b[0], err)
	}
}

func TestRunWaitsForHandlers(t *testing.T) {
	s, stop := serveUntil(t, nil)
	entered, left := make(chan struct{}), make(chan struct{})
	s.Handle("slow", func(ctx context.Context, _ ring.NodeID, _ net.Conn) {
		close(entered)
		<-ctx.Done()
		time.Sleep(5 * time.Millisecond)
		close(left)
	})
	c := client(t, key, s.Addrs()...)
	conn, err := c.Dial(t.Context(), serverID, "slow")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-entered
	stop()
	select {
	case <-left:
	default:
		t.Error("Run returned while a handler was running")
	}
}

func TestAddressInUse(t *testing.T) {
	s := serve(t, nil)
	cfg := DefaultConfig()
	cfg.Key, cfg.ID, cfg.Listen = key, clientID, s.Addrs()
	_, err := NewServer(cfg, slog.New(slog.DiscardHandler))
	var op *net.OpError
	if !errors.As(err, &op) || !strings.Contains(err.Error(), s.Addrs()[0].String()) {
		t.Errorf("NewServer on a taken address = %v", err)
	}
}

func TestValidateTellsAll(t *testing.T) {
	var c Config
	err := c.Validate()
	for _, what := range []string{"key", "id", "listen", "MaxConns", "MaxHandshakes", "MaxPerHost", "HandshakeTimeout"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("Validate says nothing of %s: %v", what, err)
		}
	}
	if _, err := NewClient(key[:16], clientID); err == nil {
		t.Error("NewClient took a short key")
	}
}
