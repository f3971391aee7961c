package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"rain/store/catalog"
)

// errDamaged says that a copy of a body is not what its hash says.
var errDamaged = errors.New("the bytes do not match the hash")

// verifyAtOnce is up to which size an opening checks a body that was not
// checked since the process began; it takes about a millisecond.
const verifyAtOnce = 1 << 20

// Open opens the newest version of an object that this member knows. A body
// that is not on this node, or is damaged here, is fetched first.
func (s *Store) Open(ctx context.Context, bucket, key string) (*Object, error) {
	rec, err := s.find(bucket, key)
	if err != nil {
		return nil, err
	}
	if rec.Striped() {
		return s.openStriped(ctx, bucket, key, rec)
	}
	if rec.Size <= smallBody {
		body, ok := s.cache.get(rec.Sum)
		if !ok {
			if body, err = s.bring(ctx, rec); err != nil {
				return nil, fmt.Errorf("store: open %s/%s: %w", bucket, key, err)
			}
		}
		o := &memObject{}
		o.Info = s.infoOf(bucket, key, rec)
		o.mem.body = body
		o.Body = &o.mem
		return &o.Object, nil
	}
	f, err := s.bringFile(ctx, rec)
	if err != nil {
		return nil, fmt.Errorf("store: open %s/%s: %w", bucket, key, err)
	}
	return &Object{Info: s.infoOf(bucket, key, rec), Body: fileBody{f}}, nil
}

// openStriped opens a striped body: from memory, from a decoded file, or from
// its symbols.
func (s *Store) openStriped(ctx context.Context, bucket, key string, rec *catalog.Record) (*Object, error) {
	if f := s.openDecoded(rec); f != nil {
		return &Object{Info: s.infoOf(bucket, key, rec), Body: fileBody{f}}, nil
	}
	if layoutOf(rec).Windows() == 1 {
		if body, ok := s.windows.keep(windowKey{rec.Body, 0}); ok {
			o := &memObject{}
			o.Info = s.infoOf(bucket, key, rec)
			o.mem.body = body
			o.Body = &o.mem
			return &o.Object, nil
		}
	}
	err := s.reachable(rec)
	if err != nil {
		// What others lacked a moment ago they may have by now, and who is not in
		// the view may be up. Before an object is refused they are asked.
		ctx, cancel := context.WithTimeout(ctx, askAgain)
		s.askOutside(ctx, rec.Nodes)
		if s.reachable(rec) != nil {
			s.poll(ctx)
		}
		cancel()
		err = s.reachable(rec)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open %s/%s: %w", bucket, key, err)
	}
	return &Object{Info: s.infoOf(bucket, key, rec), Body: s.newStripedBody(rec)}, nil
}

// askAgain bounds the question to the other members; a frozen one answers never.
const askAgain = 500 * time.Millisecond

// memObject is an object and its reader in one allocation.
type memObject struct {
	Object
	mem memBody
}

type memBody struct{ body []byte }

func (m *memBody) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("store: read at offset %d: %w", off, os.ErrInvalid)
	}
	if off >= int64(len(m.body)) {
		return 0, io.EOF
	}
	n := copy(p, m.body[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memBody) Close() error   { return nil }
func (m *memBody) Bytes() []byte  { return m.body }
func (m *memBody) File() *os.File { return nil }

type fileBody struct{ f *os.File }

func (b fileBody) ReadAt(p []byte, off int64) (int, error) { return b.f.ReadAt(p, off) }
func (b fileBody) Close() error                            { return b.f.Close() }
func (b fileBody) Bytes() []byte                           { return nil }
func (b fileBody) File() *os.File                          { return b.f }

// bring gets a small body from disk or from another member.
func (s *Store) bring(ctx context.Context, rec *catalog.Record) ([]byte, error) {
	for range 3 {
		if l, size, _ := s.bodies.get(rec.Sum); l != nil && size == rec.Size {
			body, err := s.loadSmall(rec.Sum, l, size)
			if err == nil {
				return body, nil
			}
		}
		err := s.fetch(ctx, rec.Sum, rec.Size, nil)
		if body, ok := s.cache.get(rec.Sum); ok {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("body %s is damaged on this disk again and again; replace the disk: %w", rec.Sum, ErrUnavailable)
}

// loadSmall reads a small body from disk, verifies it and caches it. A bad copy
// is given up.
func (s *Store) loadSmall(sum catalog.Sum, l *local, size int64) ([]byte, error) {
	if body, ok := s.cache.get(sum); ok {
		return body, nil
	}
	f, err := s.openLocal(sum, l, size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body := make([]byte, size)
	if _, err := io.ReadFull(f, body); err != nil {
		return nil, s.loseCopy(sum, l, fmt.Errorf("store: read body %s: %w", sum, err))
	}
	if sha256.Sum256(body) != sum {
		return nil, s.loseCopy(sum, l, fmt.Errorf("store: body %s: %w", sum, errDamaged))
	}
	s.bodies.setVerified(l)
	s.cache.put(sum, body)
	return body, nil
}

// bringFile gets a large body as a file.
func (s *Store) bringFile(ctx context.Context, rec *catalog.Record) (*os.File, error) {
	for range 3 {
		if l, size, verified := s.bodies.get(rec.Sum); l != nil && size == rec.Size {
			f, err := s.openLocal(rec.Sum, l, size)
			if err == nil && !verified {
				err = s.verifyOpened(f, rec.Sum, l, size)
			}
			if err == nil {
				return f, nil
			}
		}
		if err := s.fetch(ctx, rec.Sum, rec.Size, nil); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("body %s is damaged on this disk again and again; replace the disk: %w", rec.Sum, ErrUnavailable)
}

// verifyOpened checks a copy that this process has not seen whole: at once, or
// soon in the background. After an error f is closed.
func (s *Store) verifyOpened(f *os.File, sum catalog.Sum, l *local, size int64) error {
	if size > verifyAtOnce {
		select {
		case s.verifySoon <- sum:
		default: // the queue is full: the scrub comes by anyway
		}
		return nil
	}
	body := make([]byte, size)
	_, err := f.ReadAt(body, 0)
	if err == nil && !bytes.Equal(sumOf(body), sum[:]) {
		err = errDamaged
	}
	if err != nil {
		_ = f.Close()
		return s.loseCopy(sum, l, fmt.Errorf("store: body %s: %w", sum, err))
	}
	s.bodies.setVerified(l)
	return nil
}

func sumOf(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

// openLocal opens a body's file. One that is gone or has another size is given up.
func (s *Store) openLocal(sum catalog.Sum, l *local, size int64) (*os.File, error) {
	f, err := s.disk.fs.open(s.disk.path(sum))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, s.loseCopy(sum, l, fmt.Errorf("store: body %s: %w", sum, err))
		}
		return nil, fmt.Errorf("store: open body %s: %w", sum, err) // such as too many open files
	}
	st, err := f.Stat()
	if err == nil && st.Size() != size {
		err = fmt.Errorf("%d bytes on disk, %d expected: %w", st.Size(), size, errDamaged)
	}
	if err != nil {
		_ = f.Close()
		return nil, s.loseCopy(sum, l, fmt.Errorf("store: body %s: %w", sum, err))
	}
	return f, nil
}

// lose gives up whatever copy of the body is here.
func (s *Store) lose(sum catalog.Sum, why error) {
	if l, _, _ := s.bodies.get(sum); l != nil {
		_ = s.loseCopy(sum, l, why)
	}
}

// loseCopy gives up a bad copy: it is deleted, and fetched from another member
// if an object needs it. It returns why.
func (s *Store) loseCopy(sum catalog.Sum, l *local, why error) error {
	mu := s.disk.shard(sum)
	mu.Lock()
	defer mu.Unlock()
	if !s.bodies.lose(sum, l) {
		return why // somebody else saw it first
	}
	_ = s.disk.fs.remove(s.disk.path(sum)) // what stays is written over by the repair
	s.checksumFailures.Add(1)
	s.kickRepair()
	s.log.Warn("bad copy of a body given up, fetching it from another member",
		slog.String("sha256", sum.String()), slog.Any("error", why))
	return why
}
