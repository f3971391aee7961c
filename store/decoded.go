package store

import (
	"container/list"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"rain/store/catalog"
)

// decodedFiles are whole files made of striped bodies that were opened again and
// again, for sendfile: least recently used goes first. They are a cache: not
// synced, and gone with the process.
type decodedFiles struct {
	limit int64
	jobs  chan *catalog.Record

	mu    sync.Mutex
	used  int64
	order *list.List // of *decodedFile, newest first
	bySum map[catalog.Sum]*list.Element
	seen  map[catalog.Sum]int // openings of bodies that have no file
}

type decodedFile struct {
	sum  catalog.Sum
	size int64
}

const (
	// hotAfter is at which opening a body is decoded to a file.
	hotAfter = 2
	maxSeen  = 4096
	// minDecoded is from which size on: measured, 1 MiB from a file by sendfile
	// costs half of what it costs from memory; a small body is better there.
	minDecoded = 256 << 10
)

func newDecodedFiles(limit int64) *decodedFiles {
	return &decodedFiles{
		limit: limit, jobs: make(chan *catalog.Record, 16),
		order: list.New(), bySum: map[catalog.Sum]*list.Element{}, seen: map[catalog.Sum]int{},
	}
}

func (d *disk) decodedPath(s catalog.Sum) string { return filepath.Join(d.dir, "decoded", s.String()) }

// openDecoded opens the body's file, if there is one; else it notes the opening.
func (s *Store) openDecoded(rec *catalog.Record) *os.File {
	d := s.decoded
	if rec.Size < minDecoded || rec.Size > d.limit/4 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.bySum[rec.Sum]
	if e == nil {
		if len(d.seen) >= maxSeen {
			clear(d.seen)
		}
		if d.seen[rec.Sum]++; d.seen[rec.Sum] == hotAfter {
			select {
			case d.jobs <- rec:
			default: // the next openings ask again
				d.seen[rec.Sum]--
			}
		}
		return nil
	}
	f, err := s.disk.fs.open(s.disk.decodedPath(rec.Sum))
	if err != nil {
		s.dropDecoded(e)
		return nil
	}
	d.order.MoveToFront(e)
	return f
}

// dropDecoded removes a file; the lock is held. Who has it open reads on.
func (s *Store) dropDecoded(e *list.Element) {
	d := s.decoded
	old := d.order.Remove(e).(*decodedFile)
	delete(d.bySum, old.sum)
	d.used -= old.size
	if err := s.disk.fs.remove(s.disk.decodedPath(old.sum)); err != nil {
		s.log.Debug("decoded file not removed", slog.Any("error", err))
	}
}

func (s *Store) decodeLoop(ctx context.Context) {
	for {
		select {
		case rec := <-s.decoded.jobs:
			if err := s.decode(ctx, rec); err != nil && ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "body not decoded to a file, serving it from its symbols",
					slog.String("sha256", rec.Hex), slog.Any("error", err))
			}
			s.decoded.mu.Lock()
			delete(s.decoded.seen, rec.Sum)
			s.decoded.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// decodeWindow writes one window. It does not push others out of the cache.
func (s *Store) decodeWindow(ctx context.Context, rec *catalog.Record, w int64, h hash.Hash, t *temp) error {
	var data []byte
	if win := s.windows.peek(windowKey{rec.Body, w}); win != nil {
		defer s.windows.put(win)
		data = win.data
	} else {
		var err error
		if data, err = s.loadWindow(ctx, rec, layoutOf(rec), w); err != nil {
			return err
		}
		defer s.freeRaw(data)
	}
	h.Write(data)
	if _, err := t.Write(data); err != nil {
		return s.disk.note(err)
	}
	return nil
}

// decode writes a body to a file and holds it to its hash.
func (s *Store) decode(ctx context.Context, rec *catalog.Record) error {
	if err := s.disk.room(rec.Size); err != nil {
		return err
	}
	t, err := s.disk.temp()
	if err != nil {
		return err
	}
	defer s.disk.discard(t)
	h, l := sha256.New(), layoutOf(rec)
	for w := range l.Windows() {
		if err := s.decodeWindow(ctx, rec, w, h, t); err != nil {
			return err
		}
	}
	if catalog.Sum(h.Sum(nil)) != rec.Sum {
		return fmt.Errorf("store: decoded body %s: %w", rec.Hex, errDamaged)
	}
	d := s.decoded
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bySum[rec.Sum] != nil {
		return nil
	}
	if err := s.disk.fs.publish(t.path, s.disk.decodedPath(rec.Sum)); err != nil {
		return s.disk.note(err)
	}
	d.bySum[rec.Sum] = d.order.PushFront(&decodedFile{rec.Sum, rec.Size})
	for d.used += rec.Size; d.used > d.limit; {
		s.dropDecoded(d.order.Back())
	}
	return nil
}
