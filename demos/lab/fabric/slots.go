package fabric

import (
	"slices"
	"time"
)

// slots are the times at which a way of a limited rate is in use, in order, those
// that touch as one. A frame's whole way is reckoned when it is sent: what comes
// later to a way may have been reckoned before what comes earlier, which then takes
// a gap and does not wait for it.
type slots []slot

type slot struct{ from, to time.Duration }

// forget is for how long what is over is kept: nothing is reckoned so far back.
const forget = time.Second

// gap is when a frame that comes at t and takes so long can go, and before which
// slot.
func (s *slots) gap(t, takes time.Duration) (start time.Duration, at int) {
	old := 0
	for old < len(*s) && (*s)[old].to < t-forget {
		old++
	}
	*s = slices.Delete(*s, 0, old)
	for at = range *s {
		x := (*s)[at]
		if t+takes <= x.from {
			return t, at
		}
		t = max(t, x.to)
	}
	return t, len(*s)
}

// take uses what gap found.
func (s *slots) take(at int, start, takes time.Duration) {
	end := start + takes
	before := at > 0 && (*s)[at-1].to == start
	after := at < len(*s) && (*s)[at].from == end
	switch {
	case before && after:
		(*s)[at-1].to = (*s)[at].to
		*s = slices.Delete(*s, at, at+1)
	case before:
		(*s)[at-1].to = end
	case after:
		(*s)[at].from = start
	default:
		*s = slices.Insert(*s, at, slot{start, end})
	}
}
