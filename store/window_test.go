package store

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
)

// poison makes use of memory that was given back show.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xa5
	}
}

// TestWindowMemory: a window's memory is given back when the cache and all
// readers are done with it, never before, and never if it was kept.
func TestWindowMemory(t *testing.T) {
	var freed [][]byte
	c := newWindowCache(2*(100+cacheOverhead), func(b []byte) { freed = append(freed, b) })
	load := func(fill byte) func() ([]byte, error) {
		return func() ([]byte, error) { return bytes.Repeat([]byte{fill}, 100), nil }
	}
	get := func(w int64) *window {
		win, err := c.get(t.Context(), windowKey{w: w}, load(byte(w)))
		if err != nil {
			t.Fatal(err)
		}
		return win
	}
	one := get(1)
	kept, ok := c.keep(windowKey{w: 1})
	two := get(2)
	c.put(two)
	again := c.peek(windowKey{w: 2})
	if !ok || again != two {
		t.Fatal("what was loaded is not here")
	}
	c.put(one)
	c.put(get(3)) // pushes 1 out, which is kept
	c.put(get(4)) // pushes 2 out, which is held
	if len(freed) != 0 || kept[0] != 1 || two.data[0] != 2 {
		t.Fatalf("%d windows were given back while held", len(freed))
	}
	c.put(again)
	if len(freed) != 1 || freed[0][0] != 2 {
		t.Fatalf("%d windows given back after the last reader", len(freed))
	}
	c.put(get(5)) // pushes 3 out, which nobody holds
	if len(freed) != 2 || freed[1][0] != 3 || c.used != 2*(100+cacheOverhead) {
		t.Errorf("%d windows given back, %d bytes used", len(freed), c.used)
	}
	fail := errors.New("no")
	if _, err := c.get(t.Context(), windowKey{w: 9}, func() ([]byte, error) { return nil, fail }); !errors.Is(err, fail) || !c.worthwhile(windowKey{w: 9}) {
		t.Errorf("a failed load: %v", err)
	}
}

// TestWindowReaders: many readers of few windows, some of whom give up; what
// they see is never memory of another window.
func TestWindowReaders(t *testing.T) {
	c := newWindowCache(3*(64+cacheOverhead), poison)
	var wg sync.WaitGroup
	for r := range 16 {
		wg.Go(func() {
			for i := range 2000 {
				w := int64((i*7 + r) % 11)
				ctx, cancel := context.WithCancel(t.Context())
				if (i+r)%5 == 0 {
					cancel()
				}
				win, err := c.get(ctx, windowKey{w: w}, func() ([]byte, error) {
					return bytes.Repeat([]byte{byte(w + 1)}, 64), nil
				})
				cancel()
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					continue
				}
				if win.key.w != w || win.data[0] != byte(w+1) || win.data[63] != byte(w+1) {
					t.Errorf("window %d holds %x", w, win.data[0])
				}
				c.put(win)
			}
		})
	}
	wg.Wait()
	for e := c.order.Front(); e != nil; e = e.Next() {
		if win := e.Value.(*window); win.held != 1 {
			t.Errorf("window %d is held %d times by nobody", win.key.w, win.held-1)
		}
	}
	if len(c.flights) != 0 {
		t.Errorf("%d flights never landed", len(c.flights))
	}
}
