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
// out is never changed while it is held. Concurrent loads of one window share
// one.
type windowCache struct {
	free func([]byte) // takes the memory of windows that nobody holds any more

	mu      sync.Mutex
	limit   int64
	used    int64
	order   *list.List // of *window, newest first
	byKey   map[windowKey]*list.Element
	flights map[windowKey]*windowFlight
}

// window is decoded content with a count of who holds it: the cache, and
// readers. Streams go through hundreds of windows a second; without reuse the
// collector would let several times the cache's bound pile up.
type window struct {
	key  windowKey
	data []byte
	held int // guarded by windowCache.mu
}

type windowFlight struct {
	done    chan struct{}
	waiting int // readers besides the one that loads
	w       *window
	err     error
}

func newWindowCache(limit int64, free func([]byte)) *windowCache {
	return &windowCache{free: free, limit: limit, order: list.New(), byKey: map[windowKey]*list.Element{}, flights: map[windowKey]*windowFlight{}}
}

// keep returns the bytes of a window that is here, for as long as the caller
// likes: their memory is not used again.
func (w *windowCache) keep(k windowKey) ([]byte, bool) {
	win := w.peek(k)
	if win == nil {
		return nil, false
	}
	return win.data, true // never put back
}

// peek returns a window that is here, or nil. It goes back by put.
func (w *windowCache) peek(k windowKey) *window {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take(k)
}

// take is peek with the lock held.
func (w *windowCache) take(k windowKey) *window {
	e, ok := w.byKey[k]
	if !ok {
		return nil
	}
	w.order.MoveToFront(e)
	win := e.Value.(*window)
	win.held++
	return win
}

// put takes back what peek or get gave.
func (w *windowCache) put(win *window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(win)
}

// drop ends one hold; the lock is held.
func (w *windowCache) drop(win *window) {
	if win.held--; win.held == 0 {
		w.free(win.data)
		win.data = nil
	}
}

// worthwhile reports whether the window should be loaded before it is asked for:
// it is neither here nor coming, and little else is. Of many streams none gains by
// it, and each load in advance is memory.
func (w *windowCache) worthwhile(k windowKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byKey[k] == nil && w.flights[k] == nil && len(w.flights) < maxAhead
}

// maxAhead is how many windows may be on their way before none is loaded in
// advance.
const maxAhead = 8

// get returns the window, loaded by load if need be. It goes back by put.
func (w *windowCache) get(ctx context.Context, k windowKey, load func() ([]byte, error)) (*window, error) {
	for {
		w.mu.Lock()
		if win := w.take(k); win != nil {
			w.mu.Unlock()
			return win, nil
		}
		f := w.flights[k]
		if f == nil {
			f = &windowFlight{done: make(chan struct{})}
			w.flights[k] = f
			w.mu.Unlock()
			data, err := load()
			w.finish(k, f, data, err)
			return f.w, f.err
		}
		f.waiting++
		w.mu.Unlock()
		select {
		case <-f.done:
			// Who led may have gone away: then it is our turn.
			if f.err == nil || !errors.Is(f.err, context.Canceled) {
				return f.w, f.err
			}
		case <-ctx.Done():
			w.leave(f)
			return nil, context.Cause(ctx)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// leave takes a waiting reader from a flight.
func (w *windowCache) leave(f *windowFlight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.w != nil { // it has landed, and counted us
		w.drop(f.w)
		return
	}
	f.waiting--
}

func (w *windowCache) finish(k windowKey, f *windowFlight, data []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer close(f.done)
	delete(w.flights, k)
	if f.err = err; err != nil {
		return
	}
	f.w = &window{key: k, data: data, held: 1 + f.waiting}
	cost := int64(len(data)) + cacheOverhead
	if cost > w.limit || w.byKey[k] != nil {
		return
	}
	f.w.held++
	w.byKey[k] = w.order.PushFront(f.w)
	for w.used += cost; w.used > w.limit; {
		old := w.order.Remove(w.order.Back()).(*window)
		delete(w.byKey, old.key)
		w.used -= int64(len(old.data)) + cacheOverhead
		w.drop(old)
	}
}
