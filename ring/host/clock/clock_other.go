//go:build !linux

package clock

import (
	"sync"
	"time"

	"rain/ring"
)

// origin is where this process's instants start. It is read only.
var origin = time.Now()

// Now is Go's monotonic clock. It is never 0, which means "no instant".
func Now() ring.Instant { return ring.Instant(time.Since(origin)) + 1 }

// alarm is a time.Timer.
type alarm struct {
	fire func()

	mu      sync.Mutex
	at      ring.Instant
	timer   *time.Timer
	closed  bool
	running sync.WaitGroup
}

func (a *alarm) start(fire func()) error {
	a.fire = fire
	return nil
}

func (a *alarm) set(at ring.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || at == a.at {
		return
	}
	a.cancel()
	a.at = at
	if at == 0 {
		return
	}
	a.running.Add(1)
	a.timer = time.AfterFunc(at.Sub(Now()), func() {
		defer a.running.Done()
		a.mu.Lock()
		closed := a.closed
		if a.at <= Now() {
			a.at = 0
		}
		a.mu.Unlock()
		if !closed {
			a.fire()
		}
	})
}

// cancel stops the timer that was set last. The caller holds mu.
func (a *alarm) cancel() {
	if a.timer != nil && a.timer.Stop() {
		a.running.Done() // its function will not run
	}
	a.timer = nil
}

func (a *alarm) stop() {
	a.mu.Lock()
	a.closed = true
	a.cancel()
	a.mu.Unlock()
	a.running.Wait()
}
