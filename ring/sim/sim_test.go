package sim

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"
)

func env(t *testing.T, name string, def uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, s)
	}
	return n
}

// TestRandom runs many clusters under random faults. SEED=N replays one with
// its whole trace; SEEDS=N bounds how many run, FIRST=N says where to begin,
// STOP=N after how many failures to end, ONLY=N checks one invariant alone.
func TestRandom(t *testing.T) {
	const span = 20 * time.Second
	if seed := env(t, "SEED", 0); seed != 0 {
		c := New(seed, Random(seed), os.Stdout)
		if err := c.Soak(span); err != nil {
			t.Fatal(err)
		}
		t.Logf("\n%s", &c.Count)
		return
	}
	seeds, first := env(t, "SEEDS", 1000), env(t, "FIRST", 1)
	if testing.Short() {
		seeds = min(seeds, 50)
	}
	limit := int(env(t, "STOP", 20)) // so many failures are enough
	only := int(env(t, "ONLY", 0))
	// Virtual clusters are small and die young: collecting after each few MB took
	// a quarter of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(600))
	const workers = 2
	var mu sync.Mutex
	var sum Counters
	var slowest time.Duration
	var slowestSeed uint64
	broken := map[int]int{}
	t.Run("seeds", func(t *testing.T) {
		for w := range uint64(workers) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for seed := first + w; seed < first+seeds; seed += workers {
					opt := Random(seed)
					opt.Only = only
					c := New(seed, opt, nil)
					err := c.Soak(span)
					mu.Lock()
					sum.Add(c.Count)
					if c.Slowest > slowest {
						slowest, slowestSeed = c.Slowest, seed
					}
					if err != nil {
						t.Errorf("%v\nreplay: SEED=%d go test ./ring/sim -run TestRandom", err, seed)
						broken[c.err.Invariant]++
					}
					stop := sumOf(broken) >= limit
					mu.Unlock()
					if stop {
						return
					}
				}
			})
		}
	})
	t.Logf("%d seeds of %v; longest way back to one idle view of all: %v (seed %d)\n%s", seeds, span, slowest, slowestSeed, &sum)
	if len(broken) > 0 {
		t.Logf("broken, by invariant: %v", broken)
		return
	}
	if seeds < 1000 {
		return
	}
	if uint64(sum.Forced)*200 > seeds {
		t.Errorf("%d of %d clusters had to be forced", sum.Forced, seeds)
	}
	for _, f := range sum.fields() { // a run that is not hot proves little
		switch f.name {
		case "regenerations", "denials", "view changes", "unacknowledged deliveries", "pauses beyond the lease", "cold starts":
			if *f.n < 1000 {
				t.Errorf("only %d %s: the mix of faults is too cold", *f.n, f.name)
			}
		}
	}
}

func sumOf(m map[int]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// The same seed gives the same run, byte for byte.
func TestDeterministic(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		var a, b bytes.Buffer
		_ = New(seed, Random(seed), &a).Run(5 * time.Second)
		_ = New(seed, Random(seed), &b).Run(5 * time.Second)
		if a.Len() == 0 || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("seed %d: two runs differ (%d and %d bytes)", seed, a.Len(), b.Len())
		}
	}
}
