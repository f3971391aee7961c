package store

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"rain/store/catalog"
)

// windowKey names a window of a striped body.
type windowKey struct {
	body catalog.Sum
	w    int64
}

// windowCache holds decoded windows: least recently used goes first. What it hands
// out is never changed. Concurrent loads of one window share one.
type windowCache struct {
	mu      sync.Mutex
	limit   int64
	used    int64
	order   *list.List // of *window, newest first
	byKey   map[windowKey]*list.Element
	flights map[windowKey]*windowFlight
}

type window struct {
	key  windowKey
	data []byte
}

type windowFlight struct {
	done chan struct{}
	data []byte
	err  error
}

func newWindowCache(limit int64) *windowCache {
	return &windowCache{limit: limit, order: list.New(), byKey: map[windowKey]*list.Element{}, flights: map[windowKey]*windowFlight{}}
}

// peek returns a window that is here.
func (w *windowCache) peek(k windowKey) ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.byKey[k]
	if !ok {
		return nil, false
	}
	w.order.MoveToFront(e)
	return e.Value.(*window).data, true
}

// coming reports whether the window is here or being loaded.
func (w *windowCache) coming(k windowKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byKey[k] != nil || w.flights[k] != nil
}

// get returns the window, loaded by load if need be.
func (w *windowCache) get(ctx context.Context, k windowKey, load func() ([]byte, error)) ([]byte, error) {
	for {
		if data, ok := w.peek(k); ok {
			return data, nil
		}
		w.mu.Lock()
		f := w.flights[k]
		if f == nil {
			f = &windowFlight{done: make(chan struct{})}
			w.flights[k] = f
			w.mu.Unlock()
			f.data, f.err = load()
			w.finish(k, f)
			return f.data, f.err
		}
		w.mu.Unlock()
		select {
		case <-f.done:
			// Who led may have gone away: then it is our turn.
			if f.err == nil || !errors.Is(f.err, context.Canceled) {
				return f.data, f.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

func (w *windowCache) finish(k windowKey, f *windowFlight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.flights, k)
	close(f.done)
	cost := int64(len(f.data)) + cacheOverhead
	if f.err != nil || cost > w.limit || w.byKey[k] != nil {
		return
	}
	w.byKey[k] = w.order.PushFront(&window{k, f.data})
	for w.used += cost; w.used > w.limit; {
		old := w.order.Remove(w.order.Back()).(*window)
		delete(w.byKey, old.key)
		w.used -= int64(len(old.data)) + cacheOverhead
	}
}
