package clock

import (
	"sync"
	"testing"
	"time"
)

// bell is a waker whose calls become signals; several that nobody took are one.
type bell struct {
	*Waker
	c chan struct{}
}

func (b *bell) C() <-chan struct{} { return b.c }

func openBell(t testing.TB) *bell {
	t.Helper()
	c := make(chan struct{}, 1)
	w, err := NewWaker(func() {
		select {
		case c <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return &bell{w, c}
}

func await(t *testing.T, w *bell) {
	t.Helper()
	select {
	case <-w.C():
	case <-time.After(10 * time.Second):
		t.Fatal("no wake-up within 10 s")
	}
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
	w := openBell(t)
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
	w := openBell(t)
	w.Set(1)
	await(t, w)
	w.Set(1) // the same instant again, after it fired
	await(t, w)
}

func TestWakerIsSetAnew(t *testing.T) {
	w := openBell(t)
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
	w := openBell(t)
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
	w := openBell(t)
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
	w := openBell(b)
	far := Now().Add(time.Hour)
	for b.Loop() {
		far++
		w.Set(far)
	}
}

// BenchmarkWake reports how long after the instant the receiver runs.
func BenchmarkWake(b *testing.B) {
	w := openBell(b)
	var late time.Duration
	for b.Loop() {
		at := Now().Add(200 * time.Microsecond)
		w.Set(at)
		<-w.C()
		late += Now().Sub(at)
	}
	b.ReportMetric(float64(late.Microseconds())/float64(b.N), "late-us/op")
}
