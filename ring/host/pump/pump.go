// Package pump keeps the token's pace on a busy node: one thread, with its own
// priority, that waits for the ring's sockets and timers itself while Go's
// scheduler has much else to do.
//
// On an idle node the ring's goroutines wait in Go's network poller, which costs
// least. On a busy one a goroutine that the poller wakes waits for its turn behind
// those that compute, up to hundreds of milliseconds, and its thread behind the
// kernel's other threads. Then the pump takes over: its thread is woken by the
// kernel directly, before all threads without real-time priority.
//
// Guarantees: a source is handed over and back without losing anything that is
// readable; Ready is called in the pump's thread only; and before a timer, the sockets.
//
// Limits: Linux only. The pump decides at most Config.Look late that the node is
// busy, if an alarm goes off by then: it has no timer of its own for that, which
// would cost an idle node more than the token's. Without alarms it looks every
// 20 Look. Times are wall-clock durations; loads are shares of one core.
package pump

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Source is a descriptor that the pump may take over.
type Source struct {
	FD int
	// First sources are asked whenever the pump wakes, before all others: what
	// has come must be known before a timer accuses anybody.
	First bool
	// Hand takes the descriptor from its usual reader, or gives it back. After
	// it was given back Ready is called once more.
	Hand func(toPump bool)
	// Ready takes what can be read from fd, a copy of FD, without waiting.
	Ready func(fd int)
	// Alarms is for timers: it has note called for each alarm that the usual
	// reader takes, with how late that was. Else nil.
	Alarms func(note func(late time.Duration))
}

// Config says when a node is busy.
type Config struct {
	Look  time.Duration // how often to look, at alarms that go off anyway
	Load  float64       // it is busy from this load of the process on, 1 being a core
	Late  time.Duration // or when a goroutine is woken so late by an alarm
	Quiet time.Duration // and no longer after so long with less than half the load on average
	// OnChange, if not nil, is called by Run when the pump has begun to take
	// over, and when it has given all back.
	OnChange func(busy bool)
}

// DefaultConfig is for a LAN.
func DefaultConfig() Config {
	return Config{Look: 50 * time.Millisecond, Load: 0.3, Late: 10 * time.Millisecond, Quiet: 3 * time.Second}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.Look < time.Millisecond || c.Quiet < c.Look {
		errs = append(errs, fmt.Errorf("pump: looking every %v, quiet after %v; want at least 1ms, and quiet not below it", c.Look, c.Quiet))
	}
	if c.Load <= 0 || c.Late <= 0 {
		errs = append(errs, fmt.Errorf("pump: load %v, late %v; both must be above 0", c.Load, c.Late))
	}
	return errors.Join(errs...)
}

// Pump belongs to whoever made it.
type Pump struct {
	cfg     Config
	sources []Source
	log     *slog.Logger
	told    bool // which priority there is
}

// New returns a pump for these sources; Run makes it work.
func New(cfg Config, sources []Source, log *slog.Logger) (*Pump, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Pump{cfg: cfg, sources: sources, log: log}, nil
}
