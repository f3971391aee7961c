package snow

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// listener hands connections to fasthttp, within the limits.
type listener struct {
	net.Listener
	server *Server
	vip    netip.Addr
}

// Accept returns the next connection that the limits allow. It waits out what
// passes, such as a lack of file descriptors: fasthttp would stop serving.
func (l *listener) Accept() (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; {
		nc, err := l.Listener.Accept()
		if err != nil {
			var ne net.Error
			if errors.Is(err, net.ErrClosed) || !errors.As(err, &ne) || !temporary(ne) {
				return nil, err
			}
			l.server.log.Warn("accepting a connection failed, trying again", slog.Any("err", err), slog.Duration("pause", pause))
			select {
			case <-l.server.base.Done():
				return nil, net.ErrClosed
			case <-time.After(pause):
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		if c := l.server.admit(nc, l.vip); c != nil {
			return c, nil
		}
	}
}

// temporary is true for EMFILE and its like; the method is deprecated for its
// vague meaning elsewhere, but for accept it is the list that we need.
func temporary(err net.Error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// admit counts a connection, or refuses it.
func (s *Server) admit(nc net.Conn, vip netip.Addr) *conn {
	c := &conn{Conn: nc, server: s, vip: vip}
	c.tcp, _ = nc.(*net.TCPConn)
	var client netip.AddrPort
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort().Addr().Unmap()
		c.slot = slotOf(c.remote)
		client = netip.AddrPortFrom(c.remote, a.AddrPort().Port())
	}
	// The holder's listener is closed before the address is given away: what it
	// accepted is this node's to answer, however late the request comes.
	c.held = vip.IsValid() && s.deps.Cluster.Holds(vip)
	c.finish = func(sent int64) { s.finish(c, sent) }
	status := s.conns.add(c, s.cfg.MaxConns, s.cfg.MaxConnsPerIP)
	if status == "" {
		if s.slots != nil {
			c.tracked.open(s.slots, client)
		}
		return c
	}
	s.refused.Add(1)
	// Said without waiting: the socket's buffer is empty. It is a courtesy.
	_ = nc.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = nc.Write([]byte("HTTP/1.1 " + status + "\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"))
	_ = nc.Close()
	return nil
}

// slotOf is what the limit per client counts: an IPv4 address, or the /64 that an
// IPv6 host has for itself.
func slotOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// connSet knows all open connections.
type connSet struct {
	mu      sync.Mutex
	all     map[*conn]struct{}
	perIP   map[netip.Prefix]int
	leaving map[netip.Addr]*time.Duration // see leave.go
	none    chan struct{}                 // see emptied
}

// add returns "" or the status to refuse the connection with.
func (s *connSet) add(c *conn, limit, perIP int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.all) >= limit:
		return "503 Service Unavailable"
	case s.perIP[c.slot] >= perIP:
		return "429 Too Many Requests"
	}
	s.all[c] = struct{}{}
	s.perIP[c.slot]++
	c.leaveAt.Store(s.ends(c.vip))
	return ""
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.all[c]; !ok {
		return
	}
	delete(s.all, c)
	if s.perIP[c.slot]--; s.perIP[c.slot] == 0 {
		delete(s.perIP, c.slot)
	}
	if len(s.all) == 0 && s.none != nil {
		close(s.none)
	}
}

func (s *connSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// closeAll closes the connections that are left.
func (s *connSet) closeAll() {
	s.mu.Lock()
	out := slices.Collect(maps.Keys(s.all))
	s.mu.Unlock()
	for _, c := range out {
		c.abort()
	}
}

// abort closes at once, from another goroutine than the connection's.
func (c *conn) abort() {
	if !c.closed.Swap(true) {
		_ = c.Conn.Close()
		c.server.conns.remove(c)
	}
}
