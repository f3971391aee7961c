package video

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"rain/video/film"
)

// tables keeps the sample tables of the films that are being watched.
type tables struct {
	limit int

	mu    sync.Mutex
	byKey map[string]*table
	turn  uint64
}

// table is one film's; done is closed when movie and err are set.
type table struct {
	done  chan struct{}
	movie *film.Movie
	err   error
	used  uint64
}

// get returns the table named key, made by load at most once at a time.
func (t *tables) get(ctx context.Context, key string, load func() (*film.Movie, error)) (*film.Movie, error) {
	t.mu.Lock()
	if t.byKey == nil {
		t.byKey = map[string]*table{}
	}
	t.turn++
	e := t.byKey[key]
	if e != nil {
		e.used = t.turn
		t.mu.Unlock()
		select {
		case <-e.done:
			return e.movie, e.err
		case <-ctx.Done():
			return nil, fmt.Errorf("video: waiting for the tables of a film: %w", ctx.Err())
		}
	}
	e = &table{done: make(chan struct{}), used: t.turn}
	t.byKey[key] = e
	t.evict()
	t.mu.Unlock()
	defer close(e.done)
	e.err = errLoad // in case load panics
	if e.movie, e.err = load(); e.err != nil {
		t.mu.Lock()
		if t.byKey[key] == e {
			delete(t.byKey, key)
		}
		t.mu.Unlock()
	}
	return e.movie, e.err
}

var errLoad = fmt.Errorf("video: reading the tables of a film failed")

func (t *tables) evict() {
	for len(t.byKey) > t.limit {
		oldest := ""
		for k, e := range t.byKey {
			if oldest == "" || e.used < t.byKey[oldest].used {
				oldest = k
			}
		}
		delete(t.byKey, oldest)
	}
}

// cuts keeps cut segments, the least recently used go first.
type cuts struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	byKey map[cutKey]*list.Element
	order list.List // of *cutBytes, newest in front
}

type cutKey struct {
	sha string
	n   int
}

type cutBytes struct {
	key  cutKey
	body []byte
}

func (c *cuts) get(k cutKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[k]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cutBytes).body
}

func (c *cuts) put(k cutKey, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[cutKey]*list.Element{}
	}
	if c.byKey[k] != nil || int64(len(body)) > c.limit/4 {
		return
	}
	c.byKey[k] = c.order.PushFront(&cutBytes{k, body})
	c.bytes += int64(len(body))
	for c.bytes > c.limit {
		e := c.order.Back()
		old := c.order.Remove(e).(*cutBytes)
		delete(c.byKey, old.key)
		c.bytes -= int64(len(old.body))
	}
}
