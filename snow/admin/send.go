package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"rain/store"
)

const (
	// sendChunk is how much of an object is read and written at once.
	sendChunk = 256 << 10
	// fileChunk is how much of a file goes out before the client must have made
	// progress again.
	fileChunk = 1 << 20
)

// sendBuffers keeps buffers of sendChunk. A pool is the one kind of shared state
// that nobody can observe.
var sendBuffers = sync.Pool{New: func() any { b := make([]byte, sendChunk); return &b }}

// objectSender sends n bytes of an object from off, and closes it when the
// answer is out. fasthttp calls WriteTo and Close.
type objectSender struct {
	body   store.BodyReader
	conn   net.Conn
	off, n int64
}

// WriteTo sends what is in memory as it is, a file by sendfile where the
// platform has that, all else in large chunks.
func (r *objectSender) WriteTo(w io.Writer) (int64, error) {
	if b := r.body.Bytes(); b != nil {
		if int64(len(b)) < r.off+r.n {
			return 0, r.short(int64(len(b)))
		}
		n, err := w.Write(b[r.off : r.off+r.n])
		return int64(n), err
	}
	bw, buffered := w.(*bufio.Writer)
	c, ours := r.conn.(*conn)
	if f := r.body.File(); f != nil && buffered && ours {
		if _, err := f.Seek(r.off, io.SeekStart); err != nil {
			return 0, fmt.Errorf("admin: read the object: %w", err)
		}
		if err := bw.Flush(); err != nil {
			return 0, err
		}
		n, err := c.sendFile(f, r.n)
		if err == nil && n < r.n {
			err = r.short(r.off + n)
		}
		return n, err
	}
	return r.copyTo(w)
}

func (r *objectSender) copyTo(w io.Writer) (total int64, err error) {
	buf := sendBuffers.Get().(*[]byte)
	defer sendBuffers.Put(buf)
	for total < r.n {
		chunk := (*buf)[:min(sendChunk, r.n-total)]
		n, err := r.body.ReadAt(chunk, r.off+total)
		if n < len(chunk) {
			if err == nil || errors.Is(err, io.EOF) {
				err = r.short(r.off + total + int64(n))
			}
			return total, err
		}
		m, err := w.Write(chunk)
		total += int64(m)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (r *objectSender) short(at int64) error {
	return fmt.Errorf("admin: the object ends at %d, %d were promised: %w", at, r.off+r.n, io.ErrUnexpectedEOF)
}

// Read is there because SetBodyStream asks for a reader; fasthttp prefers WriteTo.
func (r *objectSender) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n, err := r.body.ReadAt(p[:min(int64(len(p)), r.n)], r.off)
	r.off, r.n = r.off+int64(n), r.n-int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (r *objectSender) Close() error { return r.body.Close() }

// sendFile sends the next n bytes of f; net.TCPConn does it by sendfile.
func (c *conn) sendFile(f io.Reader, n int64) (total int64, err error) {
	to, ok := c.Conn.(io.ReaderFrom)
	for ok && total < n {
		if err := c.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
			return total, err
		}
		m, err := to.ReadFrom(&io.LimitedReader{R: f, N: min(n-total, fileChunk)})
		total += m
		if err != nil && !slow(m, err) || m == 0 {
			return total, err
		}
	}
	if !ok {
		return io.CopyN(struct{ io.Writer }{c}, f, n)
	}
	return total, nil
}
