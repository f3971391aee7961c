package pace

import (
	"go/build"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rain/ring"
)

func laptop(t *testing.T) Config {
	t.Helper()
	timing, ok := ring.Preset("laptop")
	if !ok {
		t.Fatal("no preset laptop")
	}
	return DefaultConfig(timing)
}

func TestCoreIsPure(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net", "os", "log/slog", "sync", "math/rand/v2", "rain/ring/host/clock"} {
		if slices.Contains(pkg.Imports, bad) {
			t.Errorf("the core imports %q", bad)
		}
	}
}

// cable is one that carries so many bytes a second and queues the rest, behind
// which the token waits on hops of its way.
type cable struct {
	rate  float64
	queue float64
	most  float64 // what it can hold
}

// run has senders with endless bytes share a cable for so long, and returns the
// bytes carried a second and the rotations.
func run(cfg Config, senders int, c cable, base time.Duration, hops int, length time.Duration) (carried float64, took []time.Duration, limits []*Limit) {
	rng := rand.New(rand.NewPCG(1, 1))
	const step = ring.Instant(time.Millisecond)
	next := make([]ring.Instant, senders)
	for i := range senders {
		limits = append(limits, New(cfg))
		next[i] = ring.Instant(time.Second).Add(time.Duration(rng.Int64N(int64(time.Second)))) // the token first
	}
	const piece = 64 << 10
	var passed, due ring.Instant = 1, 1
	for now := ring.Instant(1); now < ring.Instant(length); now += step {
		drained := min(c.queue, c.rate*time.Duration(step).Seconds())
		c.queue -= drained
		carried += drained
		for _, i := range rng.Perm(senders) {
			for next[i] <= now && c.queue+piece <= c.most { // a full queue holds the sender up, as TCP does
				c.queue += piece
				next[i] = now.Add(limits[i].Take(now, piece))
			}
		}
		if now >= due {
			rotation := now.Sub(passed)
			if passed > 1 {
				took = append(took, rotation)
				for _, l := range limits {
					l.Rotation(now, rotation)
				}
			}
			passed = now
			due = now.Add(base + time.Duration(float64(hops)*c.queue/c.rate*float64(time.Second)))
		}
	}
	return carried / (length - time.Second).Seconds(), took, limits
}

// A cable whose queue holds the token up for longer than a lease: with the limit
// the token is nearly always on time, and the cable is used well.
func TestTokenIsOnTime(t *testing.T) {
	cfg := laptop(t)
	for _, senders := range []int{1, 3, 9} {
		c := cable{rate: 100e6, most: 10 << 20} // 105 ms
		carried, took, _ := run(cfg, senders, c, 20*time.Millisecond, 2, time.Minute)
		late := 0
		for _, d := range took {
			if d > 180*time.Millisecond {
				late++
			}
		}
		slices.Sort(took)
		t.Logf("%d senders: %.1f of 100 MB/s, rotation p50 %v, p99 %v, worst %v; %d of %d over a lease",
			senders, carried/1e6, took[len(took)/2], took[len(took)*99/100], took[len(took)-1], late, len(took))
		// Pieces of many senders that come at once are a queue of their own.
		if least := map[int]float64{1: 0.7, 3: 0.7, 9: 0.5}[senders]; carried < least*c.rate {
			t.Errorf("%d senders: the cable carried %.1f of 100 MB/s", senders, carried/1e6)
		}
		if late > len(took)/100 {
			t.Errorf("%d senders: the token was too late", senders)
		}
	}
}

// Where the token is on time whatever is sent, nothing is held back.
func TestNoLimitWithoutNeed(t *testing.T) {
	cfg := laptop(t)
	c := cable{rate: 100e6, most: 256 << 10}
	carried, _, limits := run(cfg, 4, c, 20*time.Millisecond, 2, 10*time.Second)
	if carried < 0.98*c.rate || limits[0].Rate() != 0 {
		t.Errorf("%.1f of 100 MB/s, limit %.0f", carried/1e6, limits[0].Rate())
	}
}

// A ring that is slow by itself, and one with a late token now and then, must not
// hold up a node that does nothing to it.
func TestSlowRing(t *testing.T) {
	cfg := laptop(t)
	c := cable{rate: 100e6, most: 256 << 10}
	carried, _, _ := run(cfg, 2, c, 400*time.Millisecond, 2, 30*time.Second)
	if carried < 0.9*c.rate {
		t.Errorf("a slow ring: %.1f of 100 MB/s", carried/1e6)
	}
	l := New(cfg)
	for now := ring.Instant(1); now < ring.Instant(time.Minute); now += ring.Instant(20 * time.Millisecond) {
		l.Rotation(now, time.Second)
		if l.Take(now, 10_000) != 0 { // 0.5 MB/s
			t.Fatal("a node that sends little was held up")
		}
	}
}

// A token that does not come at all is late, too; after long it means nothing.
func TestTokenAway(t *testing.T) {
	cfg := laptop(t)
	l := New(cfg)
	l.Rotation(1, 20*time.Millisecond)
	now := ring.Instant(1)
	for ; now < ring.Instant(100*time.Millisecond); now += ring.Instant(time.Millisecond) {
		l.Take(now, 100_000)
	}
	if l.Rate() != 0 {
		t.Fatalf("limited to %.0f before the token is late", l.Rate())
	}
	for ; now < ring.Instant(500*time.Millisecond); now += ring.Instant(time.Millisecond) {
		l.Take(now, 100_000)
	}
	if r := l.Rate(); r == 0 || r > 50e6 {
		t.Fatalf("limit %.0f with the token away for 400 ms", r)
	}
	for ; now < ring.Instant(3*time.Second); now += ring.Instant(time.Millisecond) {
		if w := l.Take(now, 1<<20); w > MaxWait {
			t.Fatalf("a wait of %v", w)
		}
	}
	if l.Rate() < cfg.Least {
		t.Fatalf("limit %.0f", l.Rate())
	}
	// The token is back.
	for ; now < ring.Instant(20*time.Second); now += ring.Instant(20 * time.Millisecond) {
		l.Rotation(now, 20*time.Millisecond)
		l.Take(now, 20_000)
	}
	if l.Rate() != 0 {
		t.Errorf("still limited to %.0f", l.Rate())
	}
}
