package ring

import (
	"errors"
	"fmt"
	"time"
)

// Presets are named Timings; see the table in the documentation.
func Preset(name string) (Timing, bool) {
	ms := func(idle, send, starve, lease time.Duration) Timing {
		return Timing{
			IdleRotation: idle * time.Millisecond, BusyRotation: 400 * time.Microsecond,
			SendTimeout: send * time.Millisecond, StarveTimeout: starve * time.Millisecond,
			Lease: lease * time.Millisecond, ColdAfter: 10 * time.Second,
		}
	}
	switch name {
	case "lan":
		return ms(10, 30, 60, 100), true
	case "fast":
		return ms(3, 10, 26, 40), true
	case "laptop":
		return ms(20, 60, 110, 180), true
	case "wan":
		// For a round trip of up to 60 ms; until links are measured.
		return ms(120, 240, 490, 660), true
	}
	return Timing{}, false
}

// PresetNames lists the presets in the order of their speed.
func PresetNames() []string { return []string{"fast", "lan", "laptop", "wan"} }

// Wait is how long what belonged to a removed member stays untouched after its
// last counted rotation: the lease and an eighth, because two clocks of +-5 %
// differ by up to 10.5 %.
func (t Timing) Wait() time.Duration { return t.Lease + t.Lease/8 }

// Validate checks that the times fit together.
func (t Timing) Validate() error {
	var errs []error
	min := func(name string, d, least time.Duration) {
		if d < least {
			errs = append(errs, fmt.Errorf("ring: %s is %v, must be at least %v", name, d, least))
		}
	}
	min("busy_rotation", t.BusyRotation, 100*time.Microsecond)
	min("idle_rotation", t.IdleRotation, t.BusyRotation)
	min("send_timeout", t.SendTimeout, time.Millisecond)
	min("starve_timeout", t.StarveTimeout, 2*t.IdleRotation+t.SendTimeout)
	min("lease", t.Lease, t.IdleRotation+t.SendTimeout)
	min("cold_after", t.ColdAfter, 4*t.StarveTimeout)
	return errors.Join(errs...)
}

// Config is what a machine is told at its start.
type Config struct {
	Me       Member
	Founders []NodeID // ids that may found the cluster; may hold Me
	Peers    []NodeID // ids to look for a primary at, besides founders and those on disk
	Timing   Timing
	// Aggressive detection leaves out who does not answer one member. Else it
	// takes the failures of two.
	Aggressive bool
	Disk       Disk
	Seed       uint64 // of the machine's own chance (back-off)
	Tries      int    // of the Effects that ended the life before; 0: this process's first
	// Force lets this disk alone vote in a cold start, by an operator's order. What
	// only other disks have is lost, and if others still act there are two clusters.
	// A primary or a better disk in reach goes before.
	Force bool
	// Policy must be the same on all nodes; one with another is not let in.
	Policy Policy
	// TraceHops adds a Trace for each accept and pass; for golden files.
	TraceHops bool
}
