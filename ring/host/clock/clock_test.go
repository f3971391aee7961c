package clock

import (
	"sync"
	"testing"
	"time"
)

func await(t *testing.T, w *Waker) {
	t.Helper()
	select {
	case <-w.C():
	case <-time.After(10 * time.Second):
		t.Fatal("no wake-up within 10 s")
	}
}

func newWaker(t *testing.T) *Waker {
	t.Helper()
	w, err := NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestNowRises(t *testing.T) {
	last := Now()
	if last <= 0 {
		t.Fatalf("Now = %d, want a positive instant", last)
	}
	for range 10_000 {
		n := Now()
		if n < last {
			t.Fatalf("Now went back from %d to %d", last, n)
		}
		last = n
	}
}

func TestWakerNeverFiresEarly(t *testing.T) {
	w := newWaker(t)
	for _, d := range []time.Duration{0, time.Microsecond, 100 * time.Microsecond, 3 * time.Millisecond} {
		at := Now().Add(d)
		w.Set(at)
		await(t, w)
		if n := Now(); n < at {
			t.Errorf("woke %v before the instant that was set", at.Sub(n))
		}
	}
}

func TestWakerPastFiresAtOnce(t *testing.T) {
	w := newWaker(t)
	w.Set(1)
	await(t, w)
	w.Set(1) // the same instant again, after it fired
	await(t, w)
}

func TestWakerIsSetAnew(t *testing.T) {
	w := newWaker(t)
	w.Set(Now().Add(time.Hour))
	at := Now().Add(time.Millisecond)
	w.Set(at)
	await(t, w)
	if Now() < at {
		t.Error("woke before the newer instant")
	}
	w.Set(Now().Add(time.Hour))
	w.Set(0)
	select {
	case <-w.C():
		t.Error("woke although it was turned off")
	case <-time.After(5 * time.Millisecond):
	}
}

func TestWakerFromManyGoroutines(t *testing.T) {
	w := newWaker(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				w.Set(Now().Add(time.Duration(i%7) * time.Microsecond))
			}
		})
	}
	wg.Wait()
	w.Set(Now().Add(time.Millisecond))
	await(t, w)
}

func TestWakerClose(t *testing.T) {
	w := newWaker(t)
	w.Set(Now().Add(time.Hour))
	w.Close()
	w.Set(1) // nothing: it is closed
	w.Close()
	select {
	case <-w.C():
		t.Error("woke after Close")
	default:
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}

func BenchmarkSet(b *testing.B) {
	w, err := NewWaker()
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	far := Now().Add(time.Hour)
	for b.Loop() {
		far++
		w.Set(far)
	}
}

// BenchmarkWake reports how long after the instant the receiver runs.
func BenchmarkWake(b *testing.B) {
	w, err := NewWaker()
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	var late time.Duration
	for b.Loop() {
		at := Now().Add(200 * time.Microsecond)
		w.Set(at)
		<-w.C()
		late += Now().Sub(at)
	}
	b.ReportMetric(float64(late.Microseconds())/float64(b.N), "late-us/op")
}
