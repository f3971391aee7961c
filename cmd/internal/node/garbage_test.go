package node

import "testing"

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		now  int
		want int
	}{
		{10 << 20, idleGC, busyGC},
		{30 << 20, busyGC, fullGC},
		{30 << 20, idleGC, fullGC}, // small enough to go up a step
		{40 << 20, idleGC, idleGC}, // not yet
		{60 << 20, busyGC, idleGC},
		{90 << 20, fullGC, thinGC},
		{70 << 20, thinGC, thinGC}, // not yet
		{50 << 20, thinGC, thinGC}, // not yet
		{40 << 20, thinGC, idleGC},
		{20 << 20, fullGC, fullGC}, // not yet
		{12 << 20, fullGC, busyGC},
	} {
		if got := gcPercent(c.live, c.now); got != c.want {
			t.Errorf("%d MiB live at %d: %d, want %d", c.live>>20, c.now, got, c.want)
		}
	}
}
