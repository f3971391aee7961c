package host

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
)

// meter measures the ring as this node sees it.
type meter struct {
	malformed     atomic.Uint64
	rotations     atomic.Uint64
	tokenBytes    atomic.Uint64
	regenerations atomic.Uint64
	leaseLost     atomic.Uint64
	leaseLapsed   atomic.Uint64

	mu       sync.Mutex
	ref      uint64 // of the token last sent
	sentAt   ring.Instant
	hops     [512]time.Duration // half of a token's way there and its ack's way back
	hopN     int
	rotateAt [64]ring.Instant // of the last passes
	rotateN  int
	rotation Rotation
	token    tokenSeen
	hopSum   time.Duration
	hopCount uint64
}

type tokenSeen struct {
	epoch ring.Epoch
	seq   uint64
}

func newMeter() *meter { return &meter{} }

// passed notes that the token left, and returns how long ago it did before; 0: it is
// the first time.
func (m *meter) passed(ref uint64, t *ring.Token, size int) (took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := clock.Now()
	if m.sentAt != 0 {
		took = now.Sub(m.sentAt)
		m.rotation.add(took)
	}
	m.ref, m.sentAt = ref, now
	m.rotateAt[m.rotateN%len(m.rotateAt)] = now
	m.rotateN++
	m.token = tokenSeen{t.Epoch, t.Seq}
	m.rotations.Add(1)
	m.tokenBytes.Add(uint64(size))
	return took
}

// verdict notes that the token arrived.
func (m *meter) verdict(ref uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || ref != m.ref || ref == 0 {
		return
	}
	d := clock.Now().Sub(m.sentAt) / 2
	m.hops[m.hopN%len(m.hops)] = d
	m.hopN++
	m.hopSum += d
	m.hopCount++
}

func (m *meter) count(t ring.Trace) {
	switch t.Kind {
	case ring.TraceMake:
		m.regenerations.Add(1)
	case ring.TraceIsolated:
		m.leaseLost.Add(1)
	}
}

// Meter is what a node measures of the ring.
type Meter struct {
	RotationsPerS float64
	HopP50        time.Duration // half of a token's acknowledged way
	HopP99        time.Duration
	HopSum        time.Duration
	HopCount      uint64
	Rotations     uint64 // tokens passed on by this node
	TokenBytes    uint64 // of these tokens, before sealing
	Regenerations uint64 // tokens made by this node
	LeaseLost     uint64
	LeaseLapsed   uint64 // renewals that came after the lease's end
	Rotation      Rotation
	Malformed     uint64
}

// RotationBounds are the upper bounds of the classes of Rotation.
var RotationBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 7 * time.Millisecond,
	10 * time.Millisecond, 12 * time.Millisecond, 15 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond,
	45 * time.Millisecond, 60 * time.Millisecond, 80 * time.Millisecond, 100 * time.Millisecond, 140 * time.Millisecond,
	180 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// Rotation counts the times between two tokens that this node passed on.
type Rotation struct {
	Count [len(RotationBounds) + 1]uint64 // by the smallest bound that is not exceeded; the last: above all
	Sum   time.Duration
}

func (r *Rotation) add(d time.Duration) {
	i := 0
	for i < len(RotationBounds) && d > RotationBounds[i] {
		i++
	}
	r.Count[i]++
	r.Sum += d
}

func (m *meter) read() Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := Meter{
		Rotations: m.rotations.Load(), TokenBytes: m.tokenBytes.Load(), Regenerations: m.regenerations.Load(),
		LeaseLost: m.leaseLost.Load(), LeaseLapsed: m.leaseLapsed.Load(), Rotation: m.rotation, Malformed: m.malformed.Load(),
		HopSum: m.hopSum, HopCount: m.hopCount,
	}
	if n := min(m.hopN, len(m.hops)); n > 0 {
		sorted := slices.Sorted(slices.Values(m.hops[:n]))
		out.HopP50, out.HopP99 = sorted[n/2], sorted[n*99/100]
	}
	if n := min(m.rotateN, len(m.rotateAt)); n > 1 {
		newest := m.rotateAt[(m.rotateN-1)%len(m.rotateAt)]
		oldest := m.rotateAt[(m.rotateN-n)%len(m.rotateAt)]
		if d := clock.Now().Sub(oldest); d > 0 && newest > oldest {
			out.RotationsPerS = float64(n-1) / d.Seconds()
		}
	}
	return out
}
