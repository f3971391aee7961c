package admin

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn drops a peer that makes no progress, and closes so that the last answer
// arrives: a plain close with unread bytes makes the kernel send a reset, which
// can overtake the answer.
type conn struct {
	net.Conn
	idle time.Duration

	mu       sync.Mutex
	deadline time.Time // for reads, as the HTTP server wants it
	linger   bool
	ended    bool // the peer has sent all that it ever will
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) Read(p []byte) (int, error) {
	until := time.Now().Add(c.idle)
	c.mu.Lock()
	if !c.deadline.IsZero() && c.deadline.Before(until) {
		until = c.deadline
	}
	c.mu.Unlock()
	if err := c.Conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		c.mu.Lock()
		c.ended = true
		c.mu.Unlock()
	}
	return n, err
}

// sawEnd reports whether somebody wanted to read more than the peer sent.
func (c *conn) sawEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// Write goes on as long as the peer takes something in each idle time.
func (c *conn) Write(p []byte) (int, error) {
	for total := 0; ; {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
			return total, err
		}
		n, err := c.Conn.Write(p[total:])
		total += n
		if !slow(int64(n), err) {
			return total, err
		}
	}
}

// slow reports whether a write ended at its deadline although the peer took
// something.
func slow(n int64, err error) bool { return n > 0 && errors.Is(err, os.ErrDeadlineExceeded) }

// lingerOnClose is called when a request's body was not read to its end.
func (c *conn) lingerOnClose() {
	c.mu.Lock()
	c.linger = true
	c.mu.Unlock()
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 4 << 20
)

func (c *conn) Close() error {
	c.mu.Lock()
	linger := c.linger
	c.linger = false
	c.mu.Unlock()
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok && linger {
		if cw.CloseWrite() == nil && c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			// Only the answer matters now; what the client still sends is lost anyway.
			_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
	}
	return c.Conn.Close()
}

// listener hands out conns.
type listener struct {
	net.Listener
	idle time.Duration
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, idle: l.idle}, nil
}
