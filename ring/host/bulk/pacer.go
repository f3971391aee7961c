package bulk

import (
	"sync"
	"time"

	"rain/ring"
	"rain/ring/host/bulk/pace"
	"rain/ring/host/clock"
)

// Pacer holds back what a node's Client and Server send when the token is late, see
// rain/ring/host/bulk/pace. All methods may be called from any goroutine; those of a
// nil Pacer do nothing.
type Pacer struct {
	mu    sync.Mutex
	limit *pace.Limit
	held  time.Duration
}

// NewPacer is for a ring with these times.
func NewPacer(t ring.Timing) *Pacer {
	return &Pacer{limit: pace.New(pace.DefaultConfig(t))}
}

// Rotation tells that the token was here again after so long. It never waits long.
func (p *Pacer) Rotation(took time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit.Rotation(clock.Now(), took)
}

// PacerStats tells of a Pacer.
type PacerStats struct {
	Rate float64       // bytes a second; 0: no limit now
	Held time.Duration // by how much all sending was held back, since the start
}

// Stats tells how it is.
func (p *Pacer) Stats() PacerStats {
	if p == nil {
		return PacerStats{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return PacerStats{Rate: p.limit.Rate(), Held: p.held}
}

// book counts n bytes as sent and returns how long they must wait.
func (p *Pacer) book(n int) time.Duration {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.limit.Take(clock.Now(), n)
	p.held += wait
	return wait
}
