// Package sitetest has a content store in memory, for tests of what stands on one.
package sitetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rain/store"
)

// Store behaves as store.Store does on one node.
type Store struct {
	// Dir, if set, keeps bodies above 64 KiB as files, for sendfile; but not
	// those that begin with "x".
	Dir string
	// Fail, if set, may refuse an operation ("open", "put", "delete") on a key.
	Fail func(op, key string) error
	// Modified is the date of what is put; zero: now.
	Modified time.Time

	mu      sync.RWMutex
	buckets map[string]bool
	objects map[string]object
	version uint64
	open    atomic.Int64
}

type object struct {
	info store.Info
	body []byte
}

// New makes an empty store without buckets.
func New() *Store { return &Store{buckets: map[string]bool{}, objects: map[string]object{}} }

// Opened is how many objects are open.
func (s *Store) Opened() int64 { return s.open.Load() }

func name(bucket, key string) string { return bucket + "\x00" + key }

func (s *Store) fail(op, key string) error {
	if s.Fail == nil {
		return nil
	}
	return s.Fail(op, key)
}

// CreateBucket makes a bucket.
func (s *Store) CreateBucket(_ context.Context, bucket string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	created := !s.buckets[bucket]
	s.buckets[bucket] = true
	return created, nil
}

func (s *Store) get(bucket, key string) (object, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.buckets[bucket] {
		return object{}, store.ErrNoBucket
	}
	o, ok := s.objects[name(bucket, key)]
	if !ok {
		return object{}, fmt.Errorf("sitetest: %s/%s: %w", bucket, key, store.ErrNotFound)
	}
	return o, nil
}

// Stat describes an object.
func (s *Store) Stat(bucket, key string) (store.Info, error) {
	o, err := s.get(bucket, key)
	return o.info, err
}

// Open opens an object.
func (s *Store) Open(_ context.Context, bucket, key string) (*store.Object, error) {
	if err := s.fail("open", key); err != nil {
		return nil, err
	}
	o, err := s.get(bucket, key)
	if err != nil {
		return nil, err
	}
	b := &body{Reader: bytes.NewReader(o.body), bytes: o.body, owner: s}
	if s.Dir != "" && len(o.body) > 64<<10 && o.body[0] != 'x' { // some large bodies stay in memory
		if b.file, err = s.file(o); err != nil {
			return nil, err
		}
		b.bytes = nil
	}
	s.open.Add(1)
	return &store.Object{Info: o.info, Body: b}, nil
}

// file gives the body as a file, which never appears half written.
func (s *Store) file(o object) (*os.File, error) {
	path := filepath.Join(s.Dir, o.info.SHA256)
	if f, err := os.Open(path); err == nil {
		return f, nil
	}
	tmp, err := os.CreateTemp(s.Dir, "new")
	if err != nil {
		return nil, err
	}
	_, err = tmp.Write(o.body)
	if err = errors.Join(err, tmp.Close(), os.Rename(tmp.Name(), path)); err != nil {
		return nil, err
	}
	return os.Open(path)
}

type body struct {
	*bytes.Reader
	bytes  []byte
	file   *os.File
	owner  *Store
	closed atomic.Bool
}

func (b *body) Bytes() []byte  { return b.bytes }
func (b *body) File() *os.File { return b.file }
func (b *body) Close() error {
	if b.closed.Swap(true) {
		panic("sitetest: a body is closed twice")
	}
	b.owner.open.Add(-1)
	if b.file != nil {
		return b.file.Close()
	}
	return nil
}

// Put stores an object.
func (s *Store) Put(_ context.Context, bucket, key string, r io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	b, err := io.ReadAll(r)
	if err == nil {
		err = s.fail("put", key)
	}
	if err != nil {
		return store.Info{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.buckets[bucket] {
		return store.Info{}, false, store.ErrNoBucket
	}
	old, exists := s.objects[name(bucket, key)]
	if opt.IfAbsent && exists || opt.IfMatch != "" && (!exists || opt.IfMatch != "*" && old.info.ETag != opt.IfMatch) {
		return store.Info{}, false, fmt.Errorf("sitetest: put %s: %w", key, store.ErrPrecondition)
	}
	sum := sha256.Sum256(b)
	if opt.SHA256 != "" && opt.SHA256 != hex.EncodeToString(sum[:]) {
		return store.Info{}, false, store.ErrBadBody
	}
	tag := sha256.Sum256(append(sum[:], opt.ContentType...))
	s.version++
	modified := s.Modified
	if modified.IsZero() {
		modified = time.Now()
	}
	info := store.Info{
		Bucket: bucket, Key: key, Version: s.version, ETag: `"` + hex.EncodeToString(tag[:16]) + `"`,
		SHA256: hex.EncodeToString(sum[:]), Size: int64(len(b)), ContentType: opt.ContentType,
		Modified: modified.UTC().Truncate(time.Second),
	}
	s.objects[name(bucket, key)] = object{info, b}
	return info, !exists, nil
}

// Delete removes an object.
func (s *Store) Delete(_ context.Context, bucket, key, ifMatch string) error {
	if err := s.fail("delete", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, exists := s.objects[name(bucket, key)]
	if !exists {
		return store.ErrNotFound
	}
	if ifMatch != "" && ifMatch != old.info.ETag {
		return store.ErrPrecondition
	}
	delete(s.objects, name(bucket, key))
	return nil
}

// List returns a page of a bucket.
func (s *Store) List(bucket, prefix, after string, limit int) ([]store.Info, string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.buckets[bucket] {
		return nil, "", store.ErrNoBucket
	}
	var out []store.Info
	for _, o := range s.objects {
		if o.info.Bucket == bucket && strings.HasPrefix(o.info.Key, prefix) && o.info.Key > after {
			out = append(out, o.info)
		}
	}
	slices.SortFunc(out, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	if len(out) <= limit {
		return out, "", nil
	}
	return out[:limit], out[limit-1].Key, nil
}
