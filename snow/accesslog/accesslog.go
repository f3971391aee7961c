// Package accesslog writes one line per request to a file, in the combined
// format of Apache and nginx or as JSON, without ever making a request wait.
//
// Guarantee: Log never blocks; a line that finds the queue full is dropped and
// counted. Lines are whole and in one piece. Text from the client is escaped, so
// that nobody can forge a line. After Close everything that was queued is written.
//
// Limits: QueueLines lines wait at most; a line is cut to MaxField bytes a field.
package accesslog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// QueueLines is how many lines may wait for the disk.
const QueueLines = 8192

// flushAfter is how long a line may stay in the buffer.
const flushAfter = time.Second

// Format is how a line is written.
type Format string

// The formats.
const (
	Combined Format = "combined"
	JSON     Format = "json"
)

// Log is an open access log. Its methods may be called by many at once.
type Log struct {
	path    string
	format  Format
	log     *slog.Logger
	lines   chan *[]byte
	reopen  chan chan error
	pool    sync.Pool
	dropped atomic.Uint64
	mu      sync.RWMutex // held for writing by Close
	closed  bool
	done    chan struct{}
	err     error // of the writer, after done
}

// Open appends to the file at path; "-" is the standard output.
func Open(path string, format Format, log *slog.Logger) (*Log, error) {
	if format != Combined && format != JSON {
		return nil, fmt.Errorf("accesslog: unknown format %q; use %q or %q", format, Combined, JSON)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	l := &Log{
		path: path, format: format, log: log,
		lines: make(chan *[]byte, QueueLines), reopen: make(chan chan error), done: make(chan struct{}),
	}
	l.pool.New = func() any { b := make([]byte, 0, 512); return &b }
	go l.write(f)
	return l, nil
}

func openFile(path string) (io.WriteCloser, error) {
	if path == "-" {
		return keepOpen{os.Stdout}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("accesslog: opening the access log; check the folder and its rights: %w", err)
	}
	return f, nil
}

// keepOpen is a file that is not ours to close.
type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// Log queues the line of one request.
func (l *Log) Log(r *Record) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		l.dropped.Add(1)
		return
	}
	line := l.pool.Get().(*[]byte)
	if l.format == JSON {
		*line = r.appendJSON((*line)[:0])
	} else {
		*line = r.appendCombined((*line)[:0])
	}
	select {
	case l.lines <- line:
	default:
		l.dropped.Add(1)
		l.pool.Put(line)
	}
}

// Dropped counts the lines that were lost.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Reopen goes on in a new file of the same path, after a rotation renamed the
// old one. If that fails the old one stays in use.
func (l *Log) Reopen() error {
	answer := make(chan error, 1)
	select {
	case l.reopen <- answer:
		return <-answer
	case <-l.done:
		return errors.New("accesslog: it is closed")
	}
}

// Close writes what is queued and closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.lines)
	}
	l.mu.Unlock()
	<-l.done
	return l.err
}

// write is the only goroutine that touches the file.
func (l *Log) write(f io.WriteCloser) {
	defer close(l.done)
	w := bufio.NewWriterSize(f, 64<<10)
	tick := time.NewTicker(flushAfter)
	defer tick.Stop()
	failing := false
	note := func(err error) {
		if err != nil && !failing {
			l.log.Warn("access log cannot be written; lines are lost", slog.String("path", l.path), slog.Any("err", err))
		}
		if err != nil {
			w.Reset(f) // a bufio.Writer keeps its error for ever
		}
		failing = err != nil
	}
	for {
		select {
		case line, ok := <-l.lines:
			if !ok {
				l.err = errors.Join(w.Flush(), f.Close())
				return
			}
			if _, err := w.Write(*line); err != nil {
				l.dropped.Add(1)
				note(err)
			}
			l.pool.Put(line)
		case <-tick.C:
			if w.Buffered() > 0 {
				note(w.Flush())
			}
		case answer := <-l.reopen:
			next, err := openFile(l.path)
			if err == nil {
				err = errors.Join(w.Flush(), f.Close())
				f = next
				w.Reset(f)
			}
			answer <- err
		}
	}
}
