package main

import (
	"slices"
	"sync"
	"time"
)

const (
	hedgeLeast = 100 * time.Millisecond // before a further column is asked
	hedgeMost  = 2 * time.Second
	hedgeFirst = 300 * time.Millisecond // before anything was measured
	lateLeast  = 3 * time.Second        // how long who failed comes last
	lateMost   = 30 * time.Second
)

// columns chooses which columns are asked first: another k each time, so that
// all nodes share the load; those that failed come last for a while. The zero
// value is ready; its methods may be called by many goroutines.
type columns struct {
	mu   sync.Mutex
	late map[int]lateness
	took time.Duration // of an answer, smoothed
}

type lateness struct {
	until   time.Time
	strikes int
}

// order lists n columns for the turn-th read of k.
func (c *columns) order(now time.Time, turn int64, n, k int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = int((turn*int64(k) + int64(i)) % int64(n))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(out, func(a, b int) int {
		return c.late[a].rank(now).Compare(c.late[b].rank(now))
	})
	return out
}

// rank is when the column may be asked again; the past is all the same.
func (l lateness) rank(now time.Time) time.Time {
	if l.until.After(now) {
		return l.until
	}
	return time.Time{}
}

// failed notes that a column did not come, or not in time.
func (c *columns) failed(now time.Time, column int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late == nil {
		c.late = map[int]lateness{}
	}
	l := c.late[column]
	if l.until.After(now) {
		return // several reads found out at once
	}
	l.until = now.Add(min(lateLeast<<min(l.strikes, 8), lateMost))
	l.strikes++
	c.late[column] = l
}

// came notes that a column came, and how long it took.
func (c *columns) came(column int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.late, column)
	if c.took == 0 {
		c.took = took
	}
	c.took += (took - c.took) / 8
}

// hedge is how long one waits before a further column is asked.
func (c *columns) hedge() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.took == 0 {
		return hedgeFirst
	}
	return min(max(4*c.took, hedgeLeast), hedgeMost)
}
