package link

import (
	"math/bits"
	"slices"
	"time"

	"rain/ring"
)

// Info is what is known of a path.
type Info struct {
	Peer        ring.Incarnation // 0: never heard
	Up          bool
	RTT         time.Duration // smoothed, without the time an echo was held; 0: not measured
	Sample      time.Duration // the last one; 0: none
	Proven      ring.Instant  // when the newest ping that was echoed had been sent; 0: never
	Heard       ring.Instant  // when the newest ping of the peer came; 0: never in this session
	Loss        float64       // share of the peer's last 64 pings that did not come, 0 to 1
	Since       ring.Instant
	Transitions uint64 // in this session
	Need        int    // echoes in a row that bring it Up; more than Config.UpEchoes: it flaps
}

// Info tells what is known now.
func (m *Monitor) Info() Info {
	heard := m.heardAt
	if m.heard == 0 {
		heard = 0
	}
	return Info{
		Sample: m.sampled, Proven: m.proven, Heard: heard,
		Peer: m.peer, Up: m.history.Up(), RTT: m.srtt, Loss: m.loss(), Since: m.since,
		Transitions: m.history.Count(), Need: m.need,
	}
}

func (m *Monitor) loss() float64 {
	if m.heard == 0 {
		return 0
	}
	return float64(64-bits.OnesCount64(m.window)) / 64
}

// Past is a copy of the last transitions, oldest first.
func (m *Monitor) Past() []Transition { return slices.Clone(m.past) }
