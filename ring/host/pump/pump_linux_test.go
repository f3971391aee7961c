package pump

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// counter is an eventfd whose count somebody must take: the pump, or else the
// usual reader, who here is the test.
type counter struct {
	t      *testing.T
	fd     int
	handed atomic.Bool
	hands  atomic.Int64 // calls of Hand
	taken  atomic.Uint64
	stray  atomic.Int64 // takings while not handed over, the last one left out
	last   atomic.Bool  // handed back, and not yet called once more
}

func newCounter(t *testing.T) *counter {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &counter{t: t, fd: fd}
}

func (c *counter) source() Source {
	return Source{FD: c.fd,
		Hand: func(on bool) {
			c.hands.Add(1)
			c.handed.Store(on)
			c.last.Store(!on)
		},
		Ready: func(fd int) {
			if !c.handed.Load() && !c.last.Swap(false) {
				c.stray.Add(1)
			}
			var n uint64
			if _, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&n)), 8); e == 0 {
				c.taken.Add(n)
			}
		},
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// always is a config by which every node is busy.
func always() Config {
	return Config{Look: time.Millisecond, Load: 1e-12, Late: time.Nanosecond, Quiet: time.Hour}
}

// start runs a pump; what it returns ends it and gives Run's error.
func start(t *testing.T, cfg Config, sources ...Source) (stop func() error) {
	p, err := New(cfg, sources, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			t.Fatal("the pump does not end")
			return nil
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 10 s: " + what)
		}
	}
}

func TestBusyPumpTakesEverything(t *testing.T) {
	a, b := newCounter(t), newCounter(t)
	stop := start(t, always(), a.source(), b.source())
	eventually(t, "hand-over", func() bool { return a.handed.Load() && b.handed.Load() })
	const n = 1000
	for range n {
		Signal(a.fd)
		Signal(b.fd)
	}
	eventually(t, "all taken", func() bool { return a.taken.Load() == n && b.taken.Load() == n })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if a.handed.Load() || b.handed.Load() {
		t.Error("a source was not given back")
	}
	if a.stray.Load() != 0 || b.stray.Load() != 0 {
		t.Error("the pump took from a source that it did not have")
	}
}

// What comes at any moment of a change is taken by the pump, or left for the
// usual reader and still readable.
func TestNothingLostInChanges(t *testing.T) {
	c := newCounter(t)
	cfg := always()
	cfg.Load, cfg.Quiet = 1e12, time.Millisecond // busy for being late, idle at the next look
	var busy, idle int
	cfg.OnChange = func(on bool) {
		if on {
			busy++
		} else {
			idle++
		}
	}
	stop := start(t, cfg, c.source())
	sent := uint64(0)
	eventually(t, "100 changes", func() bool {
		for range 10 {
			Signal(c.fd)
			sent++
		}
		return c.hands.Load() >= 100
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if busy == 0 || busy != idle {
		t.Errorf("told %d times that it is busy, %d times that it is idle", busy, idle)
	}
	var left uint64
	if _, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&left)), 8); e != 0 {
		left = 0
	}
	if got := c.taken.Load() + left; got != sent {
		t.Errorf("%d of %d signals are there", got, sent)
	}
	if c.stray.Load() != 0 {
		t.Error("the pump took from a source that it did not have")
	}
}

// A timer must not accuse anybody of silence who has spoken.
func TestFirstSourcesComeFirst(t *testing.T) {
	timer, socket := newCounter(t), newCounter(t)
	var order []string
	note := func(what string, s Source) Source {
		ready := s.Ready
		s.Ready = func(fd int) { order = append(order, what); ready(fd) }
		return s
	}
	s := note("socket", socket.source())
	s.First = true
	p, err := New(DefaultConfig(), []Source{note("timer", timer.source()), s}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	// Poll saw the timer only; the socket became readable after that.
	p.ready([]unix.PollFd{{}, {Fd: int32(timer.fd), Revents: unix.POLLIN}, {Fd: int32(socket.fd)}}, false)
	if len(order) != 2 || order[0] != "socket" || order[1] != "timer" {
		t.Errorf("order %v, want socket, timer", order)
	}
}

// An idle node has no timer for looking: alarms tell.
func TestLateAlarmMakesBusy(t *testing.T) {
	c := newCounter(t)
	cfg := DefaultConfig()
	cfg.Look, cfg.Load, cfg.Late, cfg.Quiet = 20*time.Millisecond, 1e12, time.Hour, time.Hour
	var note func(time.Duration)
	s := c.source()
	s.Alarms = func(f func(time.Duration)) { note = f }
	p, err := New(cfg, []Source{s}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	w := p.newWatch()
	w.start()
	isBusy := func() bool { return len(w.busy) > 0 }
	note(2 * time.Hour)
	if isBusy() {
		t.Error("busy before it is time to look")
	}
	w.at = w.at.Add(-cfg.Look)
	note(time.Minute)
	if isBusy() {
		t.Error("busy for an alarm that is not late")
	}
	w.at = w.at.Add(-cfg.Look)
	note(2 * time.Hour)
	if !isBusy() {
		t.Error("not busy after a late alarm")
	}
	w.stop()
	w.start()
	if isBusy() {
		t.Error("busy from the last time")
	}
}

func TestIdlePumpTouchesNothing(t *testing.T) {
	c := newCounter(t)
	cfg := DefaultConfig()
	cfg.Load, cfg.Late = 1e12, time.Hour
	stop := start(t, cfg, c.source())
	Signal(c.fd)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if c.hands.Load() != 0 || c.taken.Load() != 0 {
		t.Error("an idle node's source was taken over")
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if (Config{}).Validate() == nil {
		t.Error("an empty config passes")
	}
	if _, err := New(Config{}, nil, quiet()); err == nil {
		t.Error("New takes an empty config")
	}
}
