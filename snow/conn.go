package snow

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/site"
)

// lingerTime is how long a refused request's rest is read before the close, so
// that the answer is not lost to a reset (RFC 9112 section 9.6).
const lingerTime = 500 * time.Millisecond

// lingerBytes bounds what is read then.
const lingerBytes = 256 << 10

// conn is a client's connection. It drops a client that takes nothing, and it
// carries what handlers keep from one request to the next. All but Close and
// the atomics belongs to the one goroutine that serves it.
type conn struct {
	net.Conn
	tcp    *net.TCPConn // Conn, if it is one
	server *Server
	vip    netip.Addr // zero: the node's own address
	remote netip.Addr
	slot   netip.Prefix // what the limit per client counts
	closed atomic.Bool
	// leaveAt is until when it may wait for another request; nil: no end is set.
	leaveAt atomic.Pointer[time.Time]

	held     bool // it was accepted, or answered a request, while this node held vip
	heard    bool // at least one byte came
	begun    bool // at least one byte of the request came
	lineSeen bool // the request line came whole
	linger   bool
	armed    time.Time // the write deadline
	deadline time.Time // for reading, as fasthttp wants it
	tail     []byte
	gathered int64

	hostRaw []byte // the Host that host was made of
	host    *site.Host

	ctx    *fasthttp.RequestCtx // of the request being answered
	start  time.Time
	finish func(sent int64) // made once: see Server.finish

	tracked tracked // what the queue knows of the request
}

// came is told of what was read.
func (c *conn) came(b []byte) {
	c.heard, c.begun = true, true
	if !c.lineSeen && bytes.IndexByte(b, '\n') >= 0 {
		c.lineSeen = true
	}
}

// arm sets the write deadline, seldom: it is at least WriteStall ahead, at most
// a quarter more.
func (c *conn) arm() error {
	stall := c.server.cfg.WriteStall
	now := time.Now()
	if c.armed.Sub(now) >= stall {
		return nil
	}
	c.armed = now.Add(stall + stall/4)
	return c.Conn.SetWriteDeadline(c.armed)
}

// stalled reports whether a write that ended with err may go on: its deadline
// passed, but the client took something.
func stalled(n int64, err error) (goOn bool) {
	return n > 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// Write writes p, and the tail of Gather behind it.
func (c *conn) Write(p []byte) (int, error) {
	c.tracked.heads(p)
	if c.tail != nil {
		return c.writeGathered(p)
	}
	for total := 0; ; {
		if err := c.arm(); err != nil {
			return total, err
		}
		n, err := c.Conn.Write(p[total:])
		c.tracked.sent(int64(n))
		total += n
		if err == nil || !stalled(int64(n), err) {
			return total, err
		}
	}
}

// Gather makes the next Write carry tail behind what it is given, in one system
// call where the platform can.
func (c *conn) Gather(tail []byte) { c.tail, c.gathered = tail, 0 }

// Gathered is how many bytes of the last tail were written.
func (c *conn) Gathered() int64 { return c.gathered }

func (c *conn) writeGathered(p []byte) (int, error) {
	rest := net.Buffers{p, c.tail}
	c.tail = nil
	var to interface{ Write([]byte) (int, error) } = c.Conn
	if c.tcp != nil {
		to = c.tcp
	}
	var total int64
	for {
		if err := c.arm(); err != nil {
			return int(total), err
		}
		n, err := rest.WriteTo(to)
		c.tracked.sent(n)
		total += n
		if err == nil || !stalled(n, err) {
			c.gathered = max(0, total-int64(len(p)))
			return int(min(total, int64(len(p)))), err
		}
	}
}

// SendFile writes n bytes of f from offset and leaves f's own offset alone.
func (c *conn) SendFile(f *os.File, offset, n int64) (int64, error) {
	if c.tcp != nil {
		return c.sendFile(f, offset, n)
	}
	return c.copyFile(f, offset, n)
}

// copyFile is SendFile through memory.
func (c *conn) copyFile(f *os.File, offset, n int64) (int64, error) {
	buf := make([]byte, min(n, 128<<10))
	var total int64
	for total < n {
		m, err := f.ReadAt(buf[:min(int64(len(buf)), n-total)], offset+total)
		if m == 0 {
			return total, err
		}
		w, err := c.Write(buf[:m])
		total += int64(w)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Close may be called by many; the first one counts.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.linger && c.tcp != nil {
		c.drain()
	}
	err := c.Conn.Close()
	c.server.conns.remove(c)
	return err
}

// drain ends our side and reads on for a moment.
func (c *conn) drain() {
	if c.tcp.CloseWrite() != nil || c.tcp.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	var scrap [4096]byte
	for left := lingerBytes; left > 0; {
		n, err := c.tcp.Read(scrap[:])
		if err != nil {
			return
		}
		left -= n
	}
}

// mayServe is the lease check of a request: on a VIP this node answers only
// while its lease runs and it acts for the VIP, or for a connection that it
// accepted before it handed the VIP over. It waits for a late lease.
func (c *conn) mayServe(ctx context.Context) bool {
	if !c.vip.IsValid() {
		return true
	}
	if c.leased() {
		return true
	}
	wait, cancel := context.WithTimeout(ctx, c.server.cfg.LeaseWait)
	defer cancel()
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for {
		select {
		case <-wait.Done():
			return false
		case <-tick.C:
			if c.leased() {
				return true
			}
		}
	}
}

// leasePoll is how often a waiting request looks at the lease.
const leasePoll = 2 * time.Millisecond

func (c *conn) leased() bool {
	cluster := c.server.deps.Cluster
	if cluster.Now() >= cluster.LeaseUntil() {
		return false
	}
	if cluster.Holds(c.vip) {
		c.held = true
		return true
	}
	return c.held
}
