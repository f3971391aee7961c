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
// is a timerfd in Go's network poller: Go's own timers wait in whole
// milliseconds when the process is idle, and the token cannot wait so long.
// Elsewhere it is a time.Timer with that limit.
//
// Cost on Linux: one system call for Now or Set, and one wake-up of the process
// for each alarm. None of them wakes Go's monitor thread, which would then look
// around every 20 microseconds for a while; that was most of what an idle node
// cost.
//
// Units: nanoseconds since the boot (Linux) or since the process's start.
package clock

import "rain/ring"

// Waker calls a function at one instant at a time. It belongs to whoever made it
// and must be closed. All methods may be called from any goroutine.
type Waker struct{ alarm }

// NewWaker returns a waker that is off. It calls fire in a goroutine of its own;
// a call may overlap the next one. An error means that the kernel refused a
// timer (too many open files).
func NewWaker(fire func()) (*Waker, error) {
	w := &Waker{}
	if err := w.alarm.start(fire); err != nil {
		return nil, err
	}
	return w, nil
}

// Set makes the waker fire at that instant, instead of the one set before; one
// in the past fires at once, 0 turns it off. A call that was under way may still
// come: fire looks at the clock. Set costs a system call at most and nothing
// when at is what was set already. After Close it does nothing.
func (w *Waker) Set(at ring.Instant) { w.alarm.set(max(at, 0)) }

// Close turns the waker off for good and waits until nothing of it runs. It must
// not be called from within fire.
func (w *Waker) Close() { w.alarm.stop() }
