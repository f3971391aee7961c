package fabric

import (
	"encoding/binary"
	"time"
)

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
	taken slots         // when the rate is used up
	first time.Duration // until then by what goes before all else
}

// carry returns when a frame that enters at now comes out, once or twice. An urgent
// one does not wait for others.
func (w *way) carry(now time.Duration, size int, urgent bool, chance func() float64) (out [2]time.Duration, n int) {
	hit := func(p float64) bool { return p > 0 && chance() < p }
	if w.Cut || w.MTU > 0 && size > w.MTU+header || hit(w.Loss) {
		w.Dropped++
		return out, 0
	}
	if w.Rate > 0 {
		queue := w.Queue
		if queue == 0 {
			queue = defaultQueue
		}
		takes := time.Duration(int64(size) * int64(time.Second) / w.Rate)
		start, at := w.taken.gap(now, takes)
		if urgent {
			start = max(now, w.first)
		}
		if int64(start-now)*w.Rate/int64(time.Second) > queue {
			w.Dropped++
			return out, 0
		}
		if urgent { // who was there before gives way, and so all behind him
			w.first = start + takes
			start, at = w.taken.gap(max(start, now), takes)
			w.taken.take(at, start, takes)
			now = w.first
		} else {
			w.taken.take(at, start, takes)
			now = start + takes
		}
	}
	w.Frames++
	w.Bytes += uint64(size)
	now += w.Delay
	if hit(w.Late) {
		now += w.LateBy
	}
	out[0], n = now, 1
	if hit(w.Double) {
		out[1], n = now, 2
	}
	return out, n
}

// expedited reports whether a frame asks to go first (DSCP EF). A host's own queue
// lets it, as Linux does by default; these switches do not look.
func expedited(frame []byte) bool {
	const ip4, ip6, ef = 0x0800, 0x86dd, 46 << 2
	if len(frame) < header+2 {
		return false
	}
	b := frame[header:]
	switch binary.BigEndian.Uint16(frame[header-2:]) {
	case ip4:
		return b[1]&0xfc == ef
	case ip6:
		return (b[0]<<4|b[1]>>4)&0xfc == ef
	}
	return false
}
