package link

import (
	"errors"
	"fmt"
	"time"
)

// Config is what a Monitor is told at its start. Both ends of a path must have
// the same Slack; all else may differ.
type Config struct {
	// Slack is by how many transitions the two histories may differ, at least 2.
	// Default 2.
	Slack int
	// Every is how often a ping goes out. Default 30ms.
	Every time.Duration
	// DownAfter is how long no new echo may come before the path is Down; at
	// least 2 Every. Default 150ms.
	DownAfter time.Duration
	// UpEchoes is how many echoes in a row, each within DownAfter of the last,
	// bring a path Up. Default 2. It doubles with each loss of a path that was Up
	// for less than Calm (a restart of an end is none), up to MaxUpEchoes, and is back
	// after Calm Up.
	UpEchoes int
	// MaxUpEchoes bounds the doubling. Default 64.
	MaxUpEchoes int
	// Calm is how long a path must have been Up to be trusted again. Default 10s.
	Calm time.Duration
	// Keep is how many transitions are kept to be told. Default 1000.
	Keep int
}

// DefaultConfig is for a LAN.
func DefaultConfig() Config {
	return Config{
		Slack: MinSlack, Every: 30 * time.Millisecond, DownAfter: 150 * time.Millisecond,
		UpEchoes: 2, MaxUpEchoes: 64, Calm: 10 * time.Second, Keep: 1000,
	}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("link: "+format, args...))
		}
	}
	fault(c.Slack < MinSlack, "slack %d: must be at least %d", c.Slack, MinSlack)
	fault(c.Every < time.Millisecond, "a ping every %v: must be at least 1ms", c.Every)
	fault(c.DownAfter < 2*c.Every, "down after %v: must be at least two pings of %v", c.DownAfter, c.Every)
	fault(c.UpEchoes < 1 || c.MaxUpEchoes < c.UpEchoes, "%d echoes to come up, at most %d: must be 1 or more, and the bound not below", c.UpEchoes, c.MaxUpEchoes)
	fault(c.Calm < c.DownAfter, "calm after %v: must be at least the %v after which a path is down", c.Calm, c.DownAfter)
	fault(c.Keep < 1, "%d transitions kept: must be at least 1", c.Keep)
	return errors.Join(errs...)
}
