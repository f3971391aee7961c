package node

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rain/ring"
	"rain/snow/admin"
	"rain/store/catalog"
)

// world is the rest of the node.
type world struct {
	table   *catalog.Table
	index   uint64
	leased  atomic.Bool
	settles atomic.Int64
	hold    chan struct{} // settling waits for it; nil: it does not
	fail    atomic.Pointer[error]
}

func (w *world) write(t *testing.T) uint64 {
	t.Helper()
	w.index++
	op, err := catalog.EncodePut("box", "k", catalog.Cond{}, catalog.Record{N: 1, K: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.table.Apply(w.index, ring.Member{}, op)
	return w.index
}

func startFresh(t *testing.T) (*freshness, *world) {
	w := &world{table: catalog.New(nil), index: 10}
	w.leased.Store(true)
	op, err := catalog.EncodeBucket("box", 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.table.Apply(w.index, ring.Member{}, op)
	f := newFreshness(shared{
		catalog: w.table.Now, leased: w.leased.Load, late: time.Second,
		settle: func(ctx context.Context) error {
			w.settles.Add(1)
			if w.hold != nil {
				select {
				case <-w.hold:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if err := w.fail.Load(); err != nil {
				return *err
			}
			return nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return f, w
}

func TestFreshAsksOnce(t *testing.T) {
	f, w := startFresh(t)
	v := w.write(t)
	for range 3 {
		for _, version := range []uint64{v, 0} { // the object, and one that is not there
			if err := f.ensure(t.Context(), version); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := w.settles.Load(); n != 1 {
		t.Errorf("%d ops for one version", n)
	}
	f.raise(w.write(t)) // a put of this node's own
	if err := f.ensure(t.Context(), w.index); err != nil || w.settles.Load() != 1 {
		t.Errorf("own put: %v, %d ops", err, w.settles.Load())
	}
	w.write(t)
	if err := f.ensure(t.Context(), w.index); err != nil || w.settles.Load() != 2 {
		t.Errorf("another's put: %v, %d ops", err, w.settles.Load())
	}
	failed := errors.New("no quorum")
	w.fail.Store(&failed)
	if err := f.ensure(t.Context(), w.write(t)); !errors.Is(err, failed) {
		t.Errorf("without a quorum: %v", err)
	}
}

// Who comes while an op is under way has read something that it may not cover.
func TestFreshLateComersGetAnOpOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := startFresh(t)
		w.hold = make(chan struct{})
		var done [3]atomic.Bool
		ask := func(i int, version uint64) {
			go func() { done[i].Store(f.ensure(t.Context(), version) == nil) }()
			synctest.Wait()
		}
		ask(0, w.write(t))
		ask(1, w.write(t))
		ask(2, w.write(t))
		if n := w.settles.Load(); n != 1 || done[0].Load() {
			t.Fatalf("%d ops under way, the first is done: %t", n, done[0].Load())
		}
		w.hold <- struct{}{}
		synctest.Wait()
		if n := w.settles.Load(); n != 2 || !done[0].Load() || done[1].Load() || done[2].Load() {
			t.Fatalf("%d ops, done %t %t %t", n, done[0].Load(), done[1].Load(), done[2].Load())
		}
		w.hold <- struct{}{}
		synctest.Wait()
		if n := w.settles.Load(); n != 2 || !done[1].Load() || !done[2].Load() {
			t.Fatalf("%d ops, done %t %t", n, done[1].Load(), done[2].Load())
		}
	})
}

func TestFreshWithoutLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := startFresh(t)
		f.raise(100)
		w.leased.Store(false)
		if err := f.ensure(t.Context(), 5); !errors.Is(err, ring.ErrNotPrimary) || errors.Is(err, admin.ErrReadAgain) {
			t.Errorf("isolated: %v", err)
		}
		time.AfterFunc(500*time.Millisecond, func() { w.leased.Store(true) })
		if err := f.ensure(t.Context(), 5); !errors.Is(err, admin.ErrReadAgain) {
			t.Errorf("a late lease: %v", err)
		}
		if err := f.ensure(t.Context(), 5); err != nil {
			t.Errorf("with the lease again: %v", err)
		}
	})
}

// After a restore nobody knows the index of what is there.
func TestFreshAfterRestore(t *testing.T) {
	f, w := startFresh(t)
	f.raise(1 << 60)
	var b bytes.Buffer
	if err := errors.Join(w.table.Snapshot(&b), w.table.Restore(&b)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := f.ensure(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.settles.Load(); n != 1 {
		t.Errorf("%d ops, want 1", n)
	}
}
