package bulk

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"rain/ring"
)

// Gate knows of links that were cut on purpose, for demonstrations and tests.
type Gate interface {
	// Cut reports whether nothing passes now between this node and a peer over
	// the link with this end: an address of the peer, or one that this node
	// listens at. If so, changed is closed when it is worth to ask again.
	Cut(peer ring.NodeID, end netip.AddrPort) (cut bool, changed <-chan struct{})
}

// gated is a connection whose bytes wait while its link is cut, as they would in
// a real network: nobody is told, deadlines pass, and what waits goes on when the
// link heals. Read and Write belong to one goroutine each.
type gated struct {
	net.Conn
	gate Gate
	end  netip.AddrPort

	mu      sync.Mutex
	peer    ring.NodeID // 0: not known yet, everything passes
	read    time.Time   // deadlines
	write   time.Time
	moved   chan struct{} // closed when a deadline changes
	closed  chan struct{}
	closing sync.Once
	held    []byte // came while the link was cut
}

// newGated wraps a connection; without a gate it is left as it is.
func newGated(c net.Conn, g Gate, peer ring.NodeID, end netip.AddrPort) net.Conn {
	if g == nil {
		return c
	}
	return &gated{Conn: c, gate: g, end: end, peer: peer, moved: make(chan struct{}), closed: make(chan struct{})}
}

// isFrom says whose connection it is.
func isFrom(c net.Conn, peer ring.NodeID) {
	if g, ok := c.(*gated); ok {
		g.mu.Lock()
		g.peer = peer
		g.mu.Unlock()
	}
}

func (g *gated) Read(p []byte) (int, error) {
	if len(g.held) == 0 {
		n, err := g.Conn.Read(p)
		if n == 0 {
			return n, err
		}
		if g.wait(&g.read) == nil {
			return n, err
		}
		g.held = append(g.held, p[:n]...) // what ended the connection will come again
	}
	if err := g.wait(&g.read); err != nil {
		return 0, err
	}
	n := copy(p, g.held)
	g.held = g.held[n:]
	return n, nil
}

func (g *gated) Write(p []byte) (int, error) {
	if err := g.wait(&g.write); err != nil {
		return 0, err
	}
	return g.Conn.Write(p)
}

// wait returns when the link is whole, or an error when the deadline passes or
// the connection is closed.
func (g *gated) wait(deadline *time.Time) error {
	for {
		g.mu.Lock()
		peer, until, moved := g.peer, *deadline, g.moved
		g.mu.Unlock()
		if peer == 0 {
			return nil
		}
		cut, changed := g.gate.Cut(peer, g.end)
		if !cut {
			return nil
		}
		var late <-chan time.Time
		stop := func() bool { return true }
		if !until.IsZero() {
			t := time.NewTimer(time.Until(until))
			late, stop = t.C, t.Stop
		}
		select {
		case <-changed:
		case <-moved:
		case <-late:
			return os.ErrDeadlineExceeded
		case <-g.closed:
			return net.ErrClosed
		}
		stop()
	}
}

func (g *gated) setDeadlines(t time.Time, which ...*time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range which {
		*d = t
	}
	close(g.moved)
	g.moved = make(chan struct{})
}

func (g *gated) SetDeadline(t time.Time) error {
	g.setDeadlines(t, &g.read, &g.write)
	return g.Conn.SetDeadline(t)
}

func (g *gated) SetReadDeadline(t time.Time) error {
	g.setDeadlines(t, &g.read)
	return g.Conn.SetReadDeadline(t)
}

func (g *gated) SetWriteDeadline(t time.Time) error {
	g.setDeadlines(t, &g.write)
	return g.Conn.SetWriteDeadline(t)
}

func (g *gated) Close() error {
	g.closing.Do(func() { close(g.closed) })
	return g.Conn.Close()
}

// SyscallConn is for alive.
func (g *gated) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := g.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, syscall.EINVAL
}

// passable waits until a link that was cut is whole; dialling over it would be in
// vain until then.
func passable(ctx context.Context, g Gate, peer ring.NodeID, end netip.AddrPort) error {
	for g != nil {
		cut, changed := g.Cut(peer, end)
		if !cut {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
