package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// In busy times garbage may pile up: each collection stops all threads twice, and
// that takes until the last of them has had a core. But only as long as the heap
// is small: four times what hundreds of readers hold is memory that others lack.
const (
	busyGC = 400
	fullGC = 200
	idleGC = 100 // Go's own
	thinGC = 30

	smallHeap = 24 << 20 // live bytes up to which busyGC holds
	largeHeap = 48 << 20 // from here on idleGC holds
	hugeHeap  = 64 << 20 // and from here on thinGC
	gcEvery   = 250 * time.Millisecond
)

// gcPercent is GOGC for a busy time with so many live bytes; now is what it is. A
// change is a stop of the world, so it goes back up late.
func gcPercent(live uint64, now int) int {
	if want := busyPercent(live); want <= now {
		return want
	}
	return max(now, busyPercent(live*4/3))
}

func busyPercent(live uint64) int {
	switch {
	case live > hugeHeap:
		return thinGC
	case live > largeHeap:
		return idleGC
	case live > smallHeap:
		return fullGC
	}
	return busyGC
}

// keepGarbage sets GOGC as the node gets busy and idle, until ctx ends.
func keepGarbage(ctx context.Context, busy <-chan bool) {
	defer debug.SetGCPercent(idleGC)
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	now := idleGC
	set := func(percent int) {
		if percent != now {
			debug.SetGCPercent(percent)
			now = percent
		}
	}
	var tick <-chan time.Time // nil while idle: an idle node sleeps
	for {
		select {
		case <-ctx.Done():
			return
		case is := <-busy:
			tick = nil
			if !is {
				set(idleGC)
				continue
			}
		case <-tick:
		}
		metrics.Read(sample)
		set(gcPercent(sample[0].Value.Uint64(), now))
		tick = time.After(gcEvery)
	}
}
