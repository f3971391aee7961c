package clock

import (
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"rain/ring"
)

// Now is the boot clock's instant.
func Now() ring.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("clock: no CLOCK_BOOTTIME: %v; Linux has it since 2.6.39", err))
	}
	return ring.Instant(ts.Nano())
}

// alarm is a timerfd and the thread that reads it.
type alarm struct {
	fd   int
	done chan struct{}

	mu     sync.Mutex
	at     ring.Instant // 0: off, or fired already
	closed bool
}

func (a *alarm) start(fire func()) error {
	// Blocking on purpose: the read must not go through Go's poller.
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clock: timerfd: %w; raise the limit of open files", err)
	}
	a.fd, a.done = fd, make(chan struct{})
	go a.read(fire)
	return nil
}

// read sleeps in the kernel on a thread of its own. stop ends it and waits.
func (a *alarm) read(fire func()) {
	defer close(a.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var buf [8]byte
	for {
		_, err := unix.Read(a.fd, buf[:])
		a.mu.Lock()
		closed := a.closed
		if err == nil && a.at <= Now() { // else it was set anew just now
			a.at = 0
		}
		a.mu.Unlock()
		switch {
		case closed:
			return
		case err == nil:
			fire()
		case err != unix.EINTR && err != unix.EAGAIN && err != unix.ECANCELED:
			panic(fmt.Sprintf("clock: read of a timerfd: %v", err)) // nobody else knows this descriptor: a bug
		}
	}
}

func (a *alarm) set(at ring.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || at == a.at {
		return
	}
	a.at = at
	a.arm(at)
}

func (a *alarm) arm(at ring.Instant) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic(fmt.Sprintf("clock: setting a timerfd to %d: %v", at, err)) // a bug: descriptor and value are ours
	}
}

func (a *alarm) stop() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		a.arm(1) // long past: wakes the reader
	}
	a.mu.Unlock()
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd >= 0 {
		unix.Close(a.fd)
		a.fd = -1
	}
}
