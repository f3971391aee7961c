package bulk

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring"
)

// thinWay stands before a server and passes nothing on connections whose segments
// are too long. It tells how many it had of both kinds.
func thinWay(t *testing.T, to netip.AddrPort) (at netip.AddrPort, counts func() (long, short int)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var long, short int
	var wg sync.WaitGroup
	pass := func(from, to net.Conn) {
		_, _ = io.Copy(to, from) // ends with either
		from.Close()
		to.Close()
	}
	serve := func(c net.Conn) {
		defer c.Close()
		size := segment(t, c)
		mu.Lock()
		if size > shortSegment {
			long++
		} else {
			short++
		}
		mu.Unlock()
		if size > shortSegment {
			_, _ = io.Copy(io.Discard, c) // until the client gives up
			return
		}
		far, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() { pass(far, c) })
		pass(c, far)
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort(), func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return long, short
	}
}

// segment is what the kernel sends at once on a connection.
func segment(t *testing.T, c net.Conn) (n int) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return 0
	}
	if e := raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) }); e != nil || err != nil {
		t.Error(e, err)
	}
	return n
}

// A way that loses long packets is found out, remembered, and told of.
func TestThinWay(t *testing.T) {
	s := serve(t, nil)
	at, counts := thinWay(t, s.Addrs()[0])
	c, err := NewClient(key, clientID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close) // before the way's: it waits for the connections
	c.SetPeer(serverID, []netip.AddrPort{at})
	told := 0
	c.SetOnThin(func(to ring.NodeID, way Route) {
		if told++; to != serverID || way.Remote != at {
			t.Errorf("told of a thin way to %v at %v", to, way.Remote)
		}
	})
	for i := range 3 {
		conn, err := c.Dial(t.Context(), serverID, "echo")
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(conn); err != nil {
			t.Error(err)
		}
		conn.Close()
		if long, short := counts(); long != 1 || short != i+1 {
			t.Errorf("after %d dials: %d connections with long packets, %d with short ones", i+1, long, short)
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	// Some day the way may be mended.
	c.mu.Lock()
	for r := range c.peers[serverID].thin {
		c.peers[serverID].thin[r] = time.Now().Add(-2 * thinFor)
	}
	c.mu.Unlock()
	conn, err := c.Dial(t.Context(), serverID, "echo")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if long, _ := counts(); long != 2 {
		t.Errorf("long packets were tried %d times", long)
	}
}
