package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"rain/snow/httpfile"
	"rain/store"
)

// SmallFile is up to which size a file is kept in memory once it was asked for.
const SmallFile = 64 << 10

// hot is what the cache knows of an entry.
type hot struct {
	small  atomic.Pointer[[]byte]
	used   atomic.Bool // since the hand last passed
	handle *handle     // guarded by cache.mu
}

// handle is an open large file, shared by the responses that send it.
type handle struct {
	obj  *store.Object
	refs int // guarded by cache.mu; one of them is the cache's
}

// cache bounds what entries keep in memory and open. Which entry goes is decided
// by the clock algorithm: a hit costs one atomic load and seldom a store.
type cache struct {
	mu       sync.Mutex
	maxBytes int64
	bytes    int64
	smalls   []*Entry
	smallAt  int // the hand
	maxOpen  int
	open     []*Entry
	openAt   int
}

func newCache(maxBytes int64, maxOpen int) *cache {
	return &cache{maxBytes: maxBytes, maxOpen: maxOpen}
}

func (h *hot) touch() {
	if !h.used.Load() {
		h.used.Store(true)
	}
}

// Describe fills f with the file as a response needs it: with its bytes, if it
// is small enough to be kept in memory.
func (r *Reader) Describe(ctx context.Context, e *Entry, f *httpfile.File) error {
	*f = e.File
	if e.File.Size == 0 {
		return nil
	}
	if b := e.hot.small.Load(); b != nil {
		e.hot.touch()
		f.Small = *b
		return nil
	}
	if e.File.Size > SmallFile {
		return nil
	}
	obj, err := r.openBlob(ctx, e)
	if err != nil {
		return err
	}
	defer obj.Body.Close()
	b := make([]byte, e.File.Size)
	if n, err := obj.Body.ReadAt(b, 0); n < len(b) {
		return fmt.Errorf("site: reading %s: %d of %d bytes: %w", e.key, n, len(b), errors.Join(err, io.ErrUnexpectedEOF))
	}
	r.cache.keep(e, &b)
	f.Small = b
	return nil
}

// Open gives the bytes of a large file and what releases them.
func (r *Reader) Open(ctx context.Context, e *Entry) (httpfile.Body, func(), error) {
	c := r.cache
	c.mu.Lock()
	if h := e.hot.handle; h != nil {
		h.refs++
		c.mu.Unlock()
		e.hot.touch()
		return h.obj.Body, func() { c.release(h) }, nil
	}
	c.mu.Unlock()
	obj, err := r.openBlob(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	if obj.Body.File() == nil { // it may fill memory; that is for the store to bound
		return obj.Body, func() { obj.Body.Close() }, nil
	}
	h := &handle{obj: obj, refs: 1}
	c.share(e, h)
	return obj.Body, func() { c.release(h) }, nil
}

func (r *Reader) openBlob(ctx context.Context, e *Entry) (*store.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel() // an open object no longer needs it
	obj, err := r.content.Open(ctx, Bucket, e.key)
	if err != nil {
		return nil, fmt.Errorf("site: opening %s: %w", e.key, err)
	}
	if obj.SHA256 != e.sha || obj.Size != e.File.Size {
		obj.Body.Close()
		return nil, fmt.Errorf("site: %s has other bytes than its manifest says: %w", e.key, ErrBadBlob)
	}
	return obj, nil
}

// keep stores the bytes of a small file and makes room for them.
func (c *cache) keep(e *Entry, b *[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := int64(len(*b))
	if e.hot.small.Load() != nil || size > c.maxBytes {
		return
	}
	for c.bytes+size > c.maxBytes {
		victim := takeVictim(&c.smalls, &c.smallAt)
		c.bytes -= victim.File.Size
		victim.hot.small.Store(nil)
	}
	c.bytes += size
	e.hot.used.Store(true)
	e.hot.small.Store(b)
	c.smalls = append(c.smalls, e)
}

// share keeps a file open for the next response, too.
func (c *cache) share(e *Entry, h *handle) {
	c.mu.Lock()
	if e.hot.handle != nil || c.maxOpen == 0 {
		c.mu.Unlock()
		return
	}
	var out *handle
	if len(c.open) >= c.maxOpen {
		out = c.forget(takeVictim(&c.open, &c.openAt))
	}
	h.refs++
	e.hot.handle = h
	c.open = append(c.open, e)
	c.mu.Unlock()
	out.close()
}

// takeVictim moves the hand to the first entry that was not used since it last
// passed, and takes it out.
func takeVictim(list *[]*Entry, hand *int) *Entry {
	l := *list
	for {
		if *hand >= len(l) {
			*hand = 0
		}
		e := l[*hand]
		if e.hot.used.Swap(false) {
			*hand++
			continue
		}
		l[*hand] = l[len(l)-1]
		l[len(l)-1] = nil
		*list = l[:len(l)-1]
		return e
	}
}

// forget takes the cache's reference from e and returns what must be closed.
func (c *cache) forget(e *Entry) *handle {
	h := e.hot.handle
	e.hot.handle = nil
	if h.refs--; h.refs > 0 {
		return nil
	}
	return h
}

func (c *cache) release(h *handle) {
	c.mu.Lock()
	h.refs--
	last := h.refs == 0
	c.mu.Unlock()
	if last {
		h.close()
	}
}

func (h *handle) close() {
	if h != nil {
		h.obj.Body.Close()
	}
}

// drop closes what a replaced entry and its variants hold open. Their bytes in
// memory age out by themselves.
func (c *cache) drop(e *Entry) {
	for _, v := range e.variants {
		if v == nil {
			continue
		}
		c.mu.Lock()
		var out *handle
		if v.hot.handle != nil {
			for i, o := range c.open {
				if o == v {
					c.open = append(c.open[:i], c.open[i+1:]...)
					break
				}
			}
			out = c.forget(v)
		}
		c.mu.Unlock()
		out.close()
	}
}

func (c *cache) close() {
	c.mu.Lock()
	var out []*handle
	for _, e := range c.open {
		out = append(out, c.forget(e))
	}
	c.open, c.maxOpen = nil, 0
	c.mu.Unlock()
	for _, h := range out {
		h.close()
	}
}
