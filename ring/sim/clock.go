package sim

import "rain/ring"

// clock is a node's own clock: true time runs for all, a clock has an origin
// and a rate of its own. Both directions are exact to the nanosecond.
type clock struct {
	origin int64
	rate   int64 // local microseconds in a true second, 950,000 to 1,050,000
}

const million = 1_000_000

// at is what the clock shows at true time t.
func (c clock) at(t int64) ring.Instant { return ring.Instant(c.origin + t*c.rate/million) }

// when is the first true time at which the clock shows at least i.
func (c clock) when(i ring.Instant) int64 {
	d := int64(i) - c.origin
	if d <= 0 {
		return 0
	}
	if d > 1<<42 { // beyond any run; keeps the product in range
		return 1 << 42
	}
	return (d*million + c.rate - 1) / c.rate
}
