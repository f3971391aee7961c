package fabric

import "time"

// Impairment is what one direction of a cable or trunk does to frames.
type Impairment struct {
	Cut    bool          `json:"cut"`
	Loss   float64       `json:"loss"`    // share of frames, 0 to 1
	Double float64       `json:"double"`  // share of frames that come twice
	Late   float64       `json:"late"`    // share of frames that come LateBy later
	LateBy time.Duration `json:"late_by"` // so others overtake them
	Delay  time.Duration `json:"delay"`
	Rate   int64         `json:"rate"`  // bytes a second; 0: no limit
	Queue  int64         `json:"queue"` // bytes that may wait for the rate; 0: 128 KiB
	MTU    int           `json:"mtu"`   // longer packets are lost, and nobody is told; 0: no limit
}

const (
	defaultQueue = 128 << 10
	header       = 14 // of Ethernet, which an MTU leaves out
)

// Counts are what went through one direction.
type Counts struct {
	Frames  uint64 `json:"frames"`
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"`
}

// way is one direction of a cable or trunk.
type way struct {
	Impairment
	Counts
	sound Impairment    // as it should be
	busy  time.Duration // until then the rate is used up
}

// carry returns when a frame that enters at now comes out, once or twice.
func (w *way) carry(now time.Duration, size int, chance func() float64) (at [2]time.Duration, n int) {
	hit := func(p float64) bool { return p > 0 && chance() < p }
	if w.Cut || w.MTU > 0 && size > w.MTU+header || hit(w.Loss) {
		w.Dropped++
		return at, 0
	}
	if w.Rate > 0 {
		queue := w.Queue
		if queue == 0 {
			queue = defaultQueue
		}
		start := max(now, w.busy)
		if int64(start-now)*w.Rate/int64(time.Second) > queue {
			w.Dropped++
			return at, 0
		}
		w.busy = start + time.Duration(int64(size)*int64(time.Second)/w.Rate)
		now = w.busy
	}
	w.Frames++
	w.Bytes += uint64(size)
	now += w.Delay
	if hit(w.Late) {
		now += w.LateBy
	}
	at[0], n = now, 1
	if hit(w.Double) {
		at[1], n = now, 2
	}
	return at, n
}
