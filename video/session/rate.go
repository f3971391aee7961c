package session

import (
	"time"

	"rain/ring"
)

// rateOver is the least time over which a rate is measured; the most is twice it.
const rateOver = 5 * time.Second

// Rates measures how fast each session is sent, by all nodes together. It
// belongs to one goroutine.
type Rates struct {
	marks map[ID]marks
}

// marks are two moments of a session: the rate is what came since the older one.
type marks struct {
	old, young mark
	bits       float64
}

type mark struct {
	bytes uint64
	at    ring.Instant
}

// Sample takes in the sessions as they are now; call it about once a second. It
// returns the bits a second of each.
func (r *Rates) Sample(now ring.Instant, entries []Entry) map[ID]float64 {
	next := make(map[ID]marks, len(entries))
	bits := make(map[ID]float64, len(entries))
	for i := range entries {
		e := &entries[i]
		here := mark{e.Bytes, now}
		m, ok := r.marks[e.ID]
		switch {
		case !ok: // what came before was not seen coming
			m = marks{old: here, young: here}
		case now.Sub(m.young.at) >= rateOver:
			m.old, m.young = m.young, here
		}
		if d := now.Sub(m.old.at); d > 0 && e.Bytes >= m.old.bytes {
			m.bits = float64(e.Bytes-m.old.bytes) * 8 / d.Seconds()
		}
		next[e.ID], bits[e.ID] = m, m.bits
	}
	r.marks = next
	return bits
}
