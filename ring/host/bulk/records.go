package bulk

import (
	"bufio"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const (
	// gatherBytes is how much of a long write is sealed before it goes out, and
	// how much is taken in at once. TLS alone makes a system call for each record
	// of 16 KiB; that was most of what a large transfer cost.
	gatherBytes = 128 << 10
	// recordBytes is what one TLS record carries: shorter writes are one call.
	recordBytes = 16 << 10
)

// records is the connection below TLS. Reads are taken in gatherBytes at a time.
// Writes go straight out, but while corked they are gathered.
type records struct {
	net.Conn
	in    *bufio.Reader
	pacer *Pacer // of what is gathered, the rest is too little to matter; nil: a bundle paces its pieces itself

	mu     sync.Mutex
	corked bool
	out    []byte
	err    error // of an earlier gathered write: the stream has a hole
}

func newRecords(c net.Conn) *records {
	return &records{Conn: c, in: bufio.NewReaderSize(c, gatherBytes)}
}

func (r *records) Read(p []byte) (int, error) { return r.in.Read(p) }

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	if !r.corked {
		return r.Conn.Write(p)
	}
	r.out = append(r.out, p...)
	if len(r.out) >= gatherBytes {
		r.flush()
	}
	return len(p), r.err
}

// flush sends what was gathered; the lock is held.
func (r *records) flush() {
	if len(r.out) > 0 && r.err == nil {
		time.Sleep(r.pacer.book(len(r.out))) // not long: pace.MaxWait
		_, r.err = r.Conn.Write(r.out)
	}
	r.out = r.out[:0]
}

func (r *records) cork() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.corked = true
	if r.out == nil {
		r.out = make([]byte, 0, gatherBytes+2*recordBytes)
	}
}

func (r *records) uncork() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.corked = false
	r.flush()
	return r.err
}

// sealedConn is a TLS connection whose long writes take few system calls.
type sealedConn struct {
	*tls.Conn
	below *records
}

// Write belongs to one goroutine at a time, as any connection's in this package.
func (c *sealedConn) Write(p []byte) (int, error) {
	if len(p) <= recordBytes {
		return c.Conn.Write(p)
	}
	c.below.cork()
	n, err := c.Conn.Write(p)
	if flushed := c.below.uncork(); err == nil && flushed != nil {
		// How much of it the peer has is not known; the caller gives it up.
		return 0, flushed
	}
	return n, err
}
