package clock

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rain/ring"
	"rain/ring/host/pump"
)

// The system calls here never block and are raw for that reason: others tell
// Go's scheduler, which wakes its monitor thread.

// Now is the boot clock's instant.
func Now() ring.Instant {
	var ts unix.Timespec
	if _, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic(fmt.Sprintf("clock: no CLOCK_BOOTTIME: %v; Linux has it since 2.6.39", e))
	}
	return ring.Instant(ts.Nano())
}

// alarm is a timerfd and the goroutine that waits for it.
type alarm struct {
	fd   int // of file; only while not closed
	file *os.File
	raw  syscall.RawConn
	fire func()
	done chan struct{}

	handed atomic.Bool                         // a pump takes the expiries
	note   atomic.Pointer[func(time.Duration)] // is told how late others came

	mu     sync.Mutex
	at     ring.Instant // 0: off, or fired already
	closed bool
}

func (a *alarm) start(fire func()) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("clock: timerfd: %w; raise the limit of open files", err)
	}
	a.fd = fd
	a.file = os.NewFile(uintptr(fd), "timerfd") // in the poller, because it does not block
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return fmt.Errorf("clock: timerfd: %w", err)
	}
	a.fire = fire
	a.done = make(chan struct{})
	go a.wait()
	return nil
}

// Source gives the timer to a pump, in whose thread fire is then called while it
// has the turn.
func (w *Waker) Source() pump.Source {
	a := &w.alarm
	ready := func(fd int) {
		if expired(uintptr(fd)) {
			if _, closed := a.passed(); !closed {
				a.fire()
			}
		}
	}
	return pump.Source{FD: a.fd, Hand: a.handed.Store, Ready: ready, Alarms: func(note func(time.Duration)) { a.note.Store(&note) }}
}

// wait sleeps in the poller. stop ends it and waits.
func (a *alarm) wait() {
	defer close(a.done)
	mine := func(fd uintptr) bool { return !a.handed.Load() && expired(fd) }
	for {
		err := a.raw.Read(mine)
		late, closed := a.passed()
		switch {
		case closed:
			return
		case err != nil:
			panic(fmt.Sprintf("clock: waiting for a timerfd: %v", err)) // nobody else knows this descriptor: a bug
		}
		if note := a.note.Load(); note != nil {
			(*note)(late)
		}
		a.fire()
	}
}

// passed notes an expiry. It returns how late that is, and whether the alarm is
// off for good.
func (a *alarm) passed() (late time.Duration, closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := Now(); a.at <= now { // else it was set anew just now
		if a.at > 1 { // an instant, and not only a way to say at once
			late = now.Sub(a.at)
		}
		a.at = 0
	}
	return late, a.closed
}

// expired takes the expiry; false: there is none yet.
func expired(fd uintptr) bool {
	var n uint64
	_, _, e := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&n)), unsafe.Sizeof(n))
	return e != unix.EAGAIN
}

func (a *alarm) set(at ring.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || at == a.at {
		return
	}
	a.at = at
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	_, _, e := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(a.fd), unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if e != 0 {
		panic(fmt.Sprintf("clock: setting a timerfd to %d: %v", at, e)) // a bug: descriptor and value are ours
	}
}

func (a *alarm) stop() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		a.file.Close() // ends the wait
	}
	a.mu.Unlock()
	<-a.done
}
