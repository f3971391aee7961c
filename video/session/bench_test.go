package session

import (
	"testing"
	"time"
)

// What a segment costs a request's goroutine, among 10,000 sessions.
func BenchmarkSegment(b *testing.B) {
	c := newCluster(b, 1)
	for i := range MaxSessions {
		c.hit(1, i, 0, 1)
	}
	for range 12 {
		c.second()
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			c.hit(1, i%MaxSessions, 1, 100)
		}
	})
}

// What a second costs with 10,000 sessions, 1,000 of which were sent to: the op's
// bytes, making it, and applying it.
func BenchmarkSecond(b *testing.B) {
	c := newCluster(b, 1)
	for i := range MaxSessions {
		c.hit(1, i, 0, 1)
	}
	for range 12 {
		c.second()
	}
	bytes := 0
	for b.Loop() {
		b.StopTimer()
		for i := range 1000 {
			c.hit(1, i, 1, 100)
		}
		c.log, c.done[0] = nil, 0
		c.now = c.now.Add(time.Millisecond)
		b.StartTimer()
		op := c.trackers[0].Tick(c.now, time.Unix(0, int64(c.now)))
		bytes = len(op)
		c.commit(1, op)
		c.trackers[0].Done()
	}
	b.ReportMetric(float64(bytes), "op-bytes")
}
