package bulk

import (
	"context"
	"errors"
	"time"

	"rain/ring"
)

// A way is thin if a switch or tunnel on it loses packets that are longer than it
// likes and tells nobody: connections come about, and the first long packet, which
// is that of the handshake, never arrives. The kernel tries it again and again.
// With segments of shortSegment bytes all passes.
const (
	shortSegment = 1280 - 40 - 20 // of a packet of 1280 bytes over IPv6
	// thinFor is how long a way is taken to be thin before the system's own
	// length is tried again; each try costs most of a dial's time.
	thinFor = time.Hour
)

// SetOnThin has f called when a way to a node turns out to carry short packets
// only. Call it before the first Dial or Call.
func (c *Client) SetOnThin(f func(ring.NodeID, Route)) { c.onThin = f }

// try makes a connection on one way. If one comes about and then nothing passes,
// the last third of the time is for short packets.
func (c *Client) try(ctx context.Context, a Route, share time.Duration, to ring.NodeID, ask *request) (idleConn, error) {
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	if c.isThin(to, a) {
		conn, _, err := c.connect(ctx, a, true, to, ask)
		return conn, err
	}
	if !canShorten {
		conn, _, err := c.connect(ctx, a, false, to, ask)
		return conn, err
	}
	most, cancelMost := context.WithTimeout(ctx, share*2/3)
	conn, reached, err := c.connect(most, a, false, to, ask)
	silent := err != nil && reached && errors.Is(most.Err(), context.DeadlineExceeded)
	cancelMost()
	if !silent || ctx.Err() != nil {
		return conn, err
	}
	if conn, _, err = c.connect(ctx, a, true, to, ask); err == nil {
		c.noteThin(to, a)
	}
	return conn, err
}

func (c *Client) isThin(to ring.NodeID, a Route) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[to]
	if p == nil {
		return false
	}
	at, ok := p.thin[a]
	return ok && time.Since(at) < thinFor
}

func (c *Client) noteThin(to ring.NodeID, a Route) {
	c.mu.Lock()
	if p := c.peers[to]; p != nil {
		p.thin[a] = time.Now()
	}
	c.mu.Unlock()
	if c.onThin != nil {
		c.onThin(to, a)
	}
}
