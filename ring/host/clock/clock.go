// Package clock is the ring shell's sense of time: instants of this host's boot
// clock, and wake-ups that are exact to well under a millisecond.
//
// Guarantees: Now never goes back, and setting the host's date does not move
// it. On Linux it is CLOCK_BOOTTIME, which also runs while the host sleeps, so
// that a lease does not outlive a suspend. Elsewhere it is Go's monotonic
// clock, which may stand still while the host sleeps: a lease may then look
// alive for a moment after waking up.
//
// A Waker fires at or after the instant that was set, never before. On Linux it
// is a timerfd read by a thread of its own: Go's own timers wait in whole
// milliseconds when the process is idle, and the token cannot wait so long.
// Elsewhere it is a time.Timer with that limit.
//
// Units: nanoseconds since the boot (Linux) or since the process's start.
package clock

import "rain/ring"

// Waker wakes one goroutine at one instant at a time. It belongs to whoever made
// it and must be closed. All methods may be called from any goroutine.
type Waker struct {
	c chan struct{}
	alarm
}

// NewWaker returns a waker that is off. An error means that the kernel refused a
// timer (too many open files).
func NewWaker() (*Waker, error) {
	w := &Waker{c: make(chan struct{}, 1)}
	if err := w.alarm.start(w.fire); err != nil {
		return nil, err
	}
	return w, nil
}

// Set makes the waker fire at that instant, instead of the one set before; one
// in the past fires at once, 0 turns it off. A wake-up that was under way may
// still come: the receiver looks at the clock. It costs a system call at most
// and nothing when at is what was set already. After Close it does nothing.
func (w *Waker) Set(at ring.Instant) { w.alarm.set(max(at, 0)) }

// C delivers the wake-ups. Several that nobody took become one.
func (w *Waker) C() <-chan struct{} { return w.c }

// Close turns the waker off for good and waits until nothing of it runs. C is
// not closed.
func (w *Waker) Close() { w.alarm.stop() }

func (w *Waker) fire() {
	select {
	case w.c <- struct{}{}:
	default: // one is waiting to be taken; it says the same
	}
}
