package pace

import (
	"math"
	"time"

	"rain/ring"
)

// MaxWait is the longest that Take asks for.
const MaxWait = 500 * time.Millisecond

const (
	// memory is over how long the rate of sending is measured.
	memory = 250 * time.Millisecond
	// growth is in how long a limit doubles while the token is on time.
	growth = time.Second
	// baseEvery is for how long the shortest rotation is remembered, at least.
	baseEvery = 30 * time.Second
	// lost is after how long without a token nothing is known: the node may be no
	// member.
	lost = 5 * time.Second
)

// Config is what a Limit is told.
type Config struct {
	// Late is from which rotation on the token is late, at the least: where the
	// shortest one is longer than two thirds of it, half as long again as that is.
	Late time.Duration
	// Least is what may be sent in any case, bytes a second. Default 4 MB: less would
	// hurt nodes whose processors make the token late more than it helps.
	Least float64
}

// DefaultConfig is for a ring with these times.
func DefaultConfig(t ring.Timing) Config {
	return Config{Late: max(2*t.IdleRotation, t.Lease/3), Least: 4e6}
}

// Limit is one node's. It is not safe for concurrent use.
type Limit struct {
	cfg  Config
	rate float64      // bytes a second; 0: no limit
	free ring.Instant // when the next bytes may go
	cut  ring.Instant // when the limit was lowered last
	grew ring.Instant // until when growth was reckoned

	sent   float64 // bytes, fading over memory
	sentAt ring.Instant

	rotated ring.Instant // the token was here
	last    time.Duration
	base    [2]time.Duration
	baseAt  ring.Instant
}

// New returns one that limits nothing yet.
func New(cfg Config) *Limit { return &Limit{cfg: cfg} }

// Rate is the limit in bytes a second; 0: there is none.
func (l *Limit) Rate() float64 { return l.rate }

// Rotation tells that the token was here again after so long.
func (l *Limit) Rotation(now ring.Instant, took time.Duration) {
	falls := took < l.last
	l.rotated, l.last = now, took
	l.remember(now, took)
	switch {
	case took <= l.late():
		l.raise(now)
	case falls && l.rate != 0:
		l.grew = now // the queue gets shorter; less than enough would be too little
	default:
		l.lower(now, took)
	}
}

// Take asks to send n bytes and returns how long to wait before. The bytes count
// as sent then.
func (l *Limit) Take(now ring.Instant, n int) (wait time.Duration) {
	if away := now.Sub(l.rotated); l.rotated != 0 && away > 2*l.late() && away < lost {
		l.lower(now, away)
	}
	l.fade(now)
	l.sent += float64(n)
	if l.rate == 0 {
		return 0
	}
	start := max(now, l.free)
	if start.Sub(now) > MaxWait {
		start = now.Add(MaxWait)
	}
	l.free = start.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return start.Sub(now)
}

// late is from which rotation on the token is late.
func (l *Limit) late() time.Duration {
	least := l.base[0]
	if l.base[1] != 0 && l.base[1] < least {
		least = l.base[1]
	}
	return max(l.cfg.Late, least+least/2)
}

// remember keeps the shortest rotation of this time and the one before.
func (l *Limit) remember(now ring.Instant, took time.Duration) {
	if l.base[0] == 0 || now.Sub(l.baseAt) >= baseEvery {
		l.base[1], l.base[0], l.baseAt = l.base[0], took, now
	}
	l.base[0] = min(l.base[0], took)
}

// lower gives way, once for each time that the token could have shown what the
// last lowering did.
func (l *Limit) lower(now ring.Instant, took time.Duration) {
	l.grew = now
	if l.cut != 0 && now.Sub(l.cut) < max(took, l.late()) {
		return
	}
	l.fade(now)
	sends := l.sent / memory.Seconds()
	if sends < l.cfg.Least {
		return // it is not this node
	}
	share := 0.7
	if took > 2*l.late() {
		share = 0.5
	}
	if l.rate != 0 {
		sends = min(sends, l.rate) // what had waited before may have gone at once
	}
	l.rate = max(l.cfg.Least, share*sends)
	l.cut = now
}

// raise lets more go, until the limit is far above what is sent.
func (l *Limit) raise(now ring.Instant) {
	if l.rate == 0 {
		return
	}
	passed := min(now.Sub(l.grew), memory)
	l.grew = now
	l.rate *= math.Exp2(passed.Seconds() / growth.Seconds())
	l.fade(now)
	if l.rate > 4*max(l.sent/memory.Seconds(), l.cfg.Least) {
		l.rate, l.free = 0, 0
	}
}

func (l *Limit) fade(now ring.Instant) {
	if passed := now.Sub(l.sentAt); passed > 0 {
		l.sent *= math.Exp(-passed.Seconds() / memory.Seconds())
	}
	l.sentAt = now
}
