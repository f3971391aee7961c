package main

import (
	"slices"
	"time"
)

// tally counts what a watch sees. Times are offsets from its start; completions
// must come in their order. It has no clock and no lock of its own.
type tally struct {
	ok, failed, skipped int
	lastOK, longest     time.Duration
	longestFrom         time.Duration
	late                time.Duration // this program's own worst delay
	reasons             map[string]int
	nodes               map[string]int
	failures            []failed
	latency             []time.Duration
}

// failed is one attempt that failed.
type failed struct {
	At     float64 `json:"start_ms"` // since the watch began
	Reason string  `json:"reason"`
}

const (
	maxNames    = 64 // of nodes and reasons: what a stranger sends is bounded
	maxFailures = 1000
)

// success is an answer that was whole at the time done.
func (t *tally) success(start, done time.Duration, node string) {
	t.ok++
	t.gap(done)
	t.lastOK = max(t.lastOK, done)
	t.latency = append(t.latency, done-start)
	if node != "" {
		count(&t.nodes, node)
	}
}

func (t *tally) failure(start time.Duration, reason string) {
	t.failed++
	count(&t.reasons, reason)
	if len(t.failures) < maxFailures {
		t.failures = append(t.failures, failed{ms(start), reason})
	}
}

// end closes the last gap: the watch ran until then.
func (t *tally) end(at time.Duration) {
	t.gap(at)
	slices.Sort(t.latency)
}

func (t *tally) gap(until time.Duration) {
	if g := until - t.lastOK; g > t.longest {
		t.longest, t.longestFrom = g, t.lastOK
	}
}

// percentile of the answers' times, after end.
func (t *tally) percentile(p int) time.Duration {
	if len(t.latency) == 0 {
		return 0
	}
	return t.latency[(len(t.latency)-1)*p/100]
}

func count(m *map[string]int, k string) {
	if *m == nil {
		*m = make(map[string]int)
	}
	if _, ok := (*m)[k]; !ok && len(*m) >= maxNames {
		k = "other"
	}
	(*m)[k]++
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
