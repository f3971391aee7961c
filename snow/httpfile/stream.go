package httpfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/valyala/fasthttp"
)

// inOneWrite is up to which size a body is copied behind its header into the
// connection's buffer. Above it, header and body leave by one gathering write.
const inOneWrite = 2 << 10

// copyChunk is how much is read at once from a body that is neither in memory
// nor a file.
const copyChunk = 128 << 10

// watchedChunk is how much of a file is sent at once to a Watcher: a slow client
// then moves on before it is told of.
const watchedChunk = 256 << 10

// sender is what a connection may offer for large bodies.
type sender interface {
	// SendFile writes n bytes of f from offset, without moving f's own offset.
	SendFile(f *os.File, offset, n int64) (int64, error)
	// Gather makes the next Write carry tail behind what it is given.
	Gather(tail []byte)
	// Gathered is how many bytes of the last tail were written.
	Gathered() int64
}

// memory is a Body in memory.
type memory []byte

func (m memory) Bytes() []byte  { return m }
func (m memory) File() *os.File { return nil }
func (m memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, off)
}

// part is a text of our own, or length bytes of the body from start.
type part struct {
	text          string
	start, length int64
}

// stream writes the parts of a response body. fasthttp calls WriteTo, then Close.
type stream struct {
	body    Body
	parts   []part
	conn    sender // nil: the connection offers nothing
	sent    int64
	watch   func(off, n int64) // never nil
	watched bool
	release func()
	done    func(int64)
	next    int // only for Read: the part that it is at
}

// errShort says that a body had fewer bytes than its description.
var errShort = errors.New("httpfile: the body is shorter than its description; the stored file is damaged")

func newStream(ctx *fasthttp.RequestCtx, body Body, release func(), done func(int64)) *stream {
	s := &stream{body: body, release: release, done: done, watch: func(int64, int64) {}}
	if w, ok := body.(Watcher); ok {
		s.watch, s.watched = w.Sent, true
	}
	s.conn, _ = ctx.Conn().(sender)
	return s
}

// WriteTo writes the whole body.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	for _, p := range s.parts {
		if err := s.writePart(w, p); err != nil {
			return s.sent, err
		}
	}
	return s.sent, nil
}

func (s *stream) writePart(w io.Writer, p part) error {
	if p.text != "" {
		n, err := io.WriteString(w, p.text)
		s.sent += int64(n)
		return err
	}
	s.watch(p.start, 0)
	bw, buffered := w.(*bufio.Writer)
	direct := buffered && s.conn != nil && p.length > inOneWrite
	if b := s.body.Bytes(); b != nil {
		if int64(len(b)) < p.start+p.length {
			return errShort
		}
		b = b[p.start : p.start+p.length]
		if direct && bw.Buffered() > 0 {
			s.conn.Gather(b)
			err := bw.Flush()
			s.sent += s.conn.Gathered()
			s.watch(p.start, s.conn.Gathered())
			return err
		}
		n, err := w.Write(b)
		s.sent += int64(n)
		s.watch(p.start, int64(n))
		return err
	}
	if f := s.body.File(); f != nil && direct {
		if err := bw.Flush(); err != nil {
			return err
		}
		return s.sendFile(f, p)
	}
	return s.copyPart(w, p)
}

// sendFile sends a part of a file, in one go unless somebody watches.
func (s *stream) sendFile(f *os.File, p part) error {
	for off, end := p.start, p.start+p.length; off < end; {
		length := end - off
		if s.watched {
			length = min(length, watchedChunk)
		}
		n, err := s.conn.SendFile(f, off, length)
		s.sent += n
		s.watch(off, n)
		if err == nil && n != length {
			err = errShort
		}
		if err != nil {
			return err
		}
		off += n
	}
	return nil
}

// chunks keeps buffers for copyPart. A pool is the one kind of shared state
// that nobody can observe.
var chunks = sync.Pool{New: func() any { b := make([]byte, copyChunk); return &b }}

func (s *stream) copyPart(w io.Writer, p part) error {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for off, end := p.start, p.start+p.length; off < end; {
		chunk := (*buf)[:min(copyChunk, end-off)]
		n, err := s.body.ReadAt(chunk, off)
		if n < len(chunk) {
			if err == nil || errors.Is(err, io.EOF) {
				err = errShort
			}
			return fmt.Errorf("httpfile: reading the body at %d: %w", off, err)
		}
		m, err := w.Write(chunk)
		s.sent += int64(m)
		s.watch(off, int64(m))
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Read is there because SetBodyStream asks for a reader; fasthttp prefers WriteTo.
func (s *stream) Read(p []byte) (int, error) {
	for s.next < len(s.parts) {
		cur := &s.parts[s.next]
		if cur.text != "" {
			n := copy(p, cur.text)
			if cur.text = cur.text[n:]; cur.text == "" {
				s.next++
			}
			s.sent += int64(n)
			return n, nil
		}
		if cur.length == 0 {
			s.next++
			continue
		}
		n, err := s.body.ReadAt(p[:min(int64(len(p)), cur.length)], cur.start)
		s.watch(cur.start, int64(n))
		cur.start, cur.length = cur.start+int64(n), cur.length-int64(n)
		s.sent += int64(n)
		if n > 0 {
			return n, nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = errShort
		}
		return 0, err
	}
	return 0, io.EOF
}

// Close gives the body back.
func (s *stream) Close() error {
	if s.release != nil {
		s.release()
		s.release = nil
	}
	if s.done != nil {
		s.done(s.sent)
		s.done = nil
	}
	return nil
}
