package effect

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// counters since the start.
type counters struct {
	begun, replayed, claimed, retried atomic.Uint64
}

// Stats are counters since the start, and times of the newest requests.
type Stats struct {
	Running  int    // under way here
	Begun    uint64 // entries that this node began
	Replayed uint64 // repeats that got a recorded answer
	Claimed  uint64 // entries of others that this node finished
	Retried  uint64 // tries to record that failed
	Parts    Parts
}

// Parts are the times that an effect's parts took on this node.
type Parts struct{ Prepare, Begin, Run, Finish Times }

// Times of the newest samples, at most keptTimes.
type Times struct {
	N             uint64
	P50, P99, Max time.Duration
}

const keptTimes = 1024

type timings struct{ prepare, begin, run, finish window }

// window keeps the newest samples.
type window struct {
	mu   sync.Mutex
	n    uint64
	last []time.Duration
}

func (w *window) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.last) < keptTimes {
		w.last = append(w.last, d)
	} else {
		w.last[w.n%keptTimes] = d
	}
	w.n++
}

func (w *window) times() Times {
	w.mu.Lock()
	all, n := slices.Clone(w.last), w.n
	w.mu.Unlock()
	if len(all) == 0 {
		return Times{}
	}
	slices.Sort(all)
	return Times{N: n, P50: all[len(all)/2], P99: all[len(all)*99/100], Max: all[len(all)-1]}
}

// Stats returns the counters.
func (s *Service) Stats() Stats {
	return Stats{
		Running: len(s.slots), Begun: s.stats.begun.Load(), Replayed: s.stats.replayed.Load(), Claimed: s.stats.claimed.Load(),
		Retried: s.stats.retried.Load(),
		Parts:   Parts{s.times.prepare.times(), s.times.begin.times(), s.times.run.times(), s.times.finish.times()},
	}
}
