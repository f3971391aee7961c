package bulk

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"rain/ring"
)

const (
	maxIdle = 8                // connections kept for one service of one node
	idleFor = 30 * time.Second // and for how long
)

// idleConn is a connection with the socket under it.
type idleConn struct {
	net.Conn
	raw   io.Closer   // ends it without a farewell
	alive func() bool // nothing has come that nobody waits for
	since time.Time
}

// Call lends a connection to a service of a node to f, one that an earlier call
// left if there is one. When f returns nil the connection must be where the next
// call can begin: all of the answer read, nothing more to come. When f returns an
// error the connection is closed, so what the peer reports in an orderly manner
// should not be f's error. Reads and writes of f fail once ctx is done. The
// service's handler must serve one request after the other until it reads EOF.
//
// A peer may die between two calls: then f fails although the peer may be back.
// It is not called twice: only the caller knows if that would do harm.
func (c *Client) Call(ctx context.Context, to ring.NodeID, service string, f func(conn net.Conn) error) error {
	conn, ok := c.take(to, service)
	if !ok {
		var err error
		if conn, err = c.dial(ctx, to, service); err != nil {
			return err
		}
	}
	stop := interruptible(ctx, conn)
	err := f(conn)
	inTime := stop()
	if err == nil && inTime && conn.SetDeadline(time.Time{}) == nil { // f may have set one
		c.put(to, service, conn)
		return nil
	}
	conn.raw.Close() // without a farewell, which a peer that hangs would not take
	if err == nil {
		return nil // ctx ended after the work was done
	}
	c.dropIdle(to, service) // they are no better
	if !inTime {
		return fmt.Errorf("bulk: service %q of node %s: %w: %w", service, to, context.Cause(ctx), err)
	}
	return fmt.Errorf("bulk: service %q of node %s: %w", service, to, err)
}

// Close closes the idle connections. Calls that run end by themselves.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for _, p := range c.peers {
		p.drop()
	}
	c.mu.Unlock()
}

// take takes an idle connection that is still alive, the one used last.
func (c *Client) take(to ring.NodeID, service string) (idleConn, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[to]
	if p == nil {
		return idleConn{}, false
	}
	p.expire(service)
	for l := p.idle[service]; len(l) > 0; l = p.idle[service] {
		conn := l[len(l)-1]
		p.idle[service] = l[:len(l)-1]
		if conn.alive() {
			return conn, true
		}
		conn.raw.Close()
	}
	return idleConn{}, false
}

func (c *Client) put(to ring.NodeID, service string, conn idleConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[to]
	if c.closed || p == nil {
		conn.raw.Close()
		return
	}
	conn.since = time.Now()
	p.idle[service] = append(p.idle[service], conn)
	p.expire(service)
}

func (c *Client) dropIdle(to ring.NodeID, service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[to]; p != nil {
		closeAll(p.idle[service])
		delete(p.idle, service)
	}
}

// expire closes what is too old or too many.
func (p *peer) expire(service string) {
	l := p.idle[service]
	n := max(0, len(l)-maxIdle)
	for n < len(l) && time.Since(l[n].since) > idleFor {
		n++
	}
	closeAll(l[:n])
	p.idle[service] = slices.Delete(l, 0, n)
}

func (p *peer) drop() {
	for _, l := range p.idle {
		closeAll(l)
	}
	clear(p.idle)
}

func closeAll(l []idleConn) {
	for _, c := range l {
		c.raw.Close()
	}
}
