package sim

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"rain/ring"
)

// TestForged throws garbage at the parser, and at running machines whatever of
// it parses: mutated real messages from any sender. Members trust each other, so
// nothing is asked of the outcome but that nobody panics, sends without end or
// grows without bound.
func TestForged(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		opt := Random(seed)
		c := New(seed, opt, nil)
		var seen [][]byte
		c.hook = func(p *packet, _ ring.Message) {
			if len(seen) < 4000 {
				seen = append(seen, p.bytes)
			}
		}
		if c.Run(3*time.Second) != nil {
			continue // TestRandom's concern
		}
		forge(t, c, rand.New(rand.NewPCG(seed, 2)), seen)
	}
}

func forge(t *testing.T, c *Cluster, r *rand.Rand, seen [][]byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	now := c.now
	if len(seen) == 0 {
		return // a cluster of one sends nothing
	}
	for range 5000 {
		b := append([]byte(nil), seen[r.IntN(len(seen))]...)
		for range r.IntN(6) {
			switch r.IntN(4) {
			case 0:
				b[r.IntN(len(b))] = byte(r.Uint32())
			case 1:
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			case 2:
				b = b[:1+r.IntN(len(b))]
			case 3:
				b = append(b, byte(r.Uint32()))
			}
		}
		msg, err := parseGuarded(t, b)
		if err != nil {
			continue
		}
		n := c.nodes[r.IntN(len(c.nodes))]
		if !n.up {
			continue
		}
		from := ring.Member{ID: nodeID(r.IntN(8)), Inc: ring.Incarnation(r.IntN(12))}
		now += r.Int64N(int64(time.Millisecond))
		if eff, ok := stepGuarded(t, n.m, n.clock.at(now), ring.Received{From: from, Msg: msg}); !ok {
			return
		} else if len(eff.Send) > 4*ring.MaxMembers {
			t.Fatalf("one %T made n%d send %d messages", msg, n.i+1, len(eff.Send))
		} else if eff.Restart || eff.Left {
			n.up = false
			c.faults = true
			c.start(n)
			c.err = nil
		}
		if _, ok := stepGuarded(t, n.m, n.clock.at(now), ring.Timer{}); !ok {
			return
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 256<<20 {
		t.Fatalf("5000 forged messages left %d bytes behind", grown)
	}
}

func parseGuarded(t *testing.T, b []byte) (ring.Message, error) {
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("sim: invariant 7 (%s) broken: %x makes the parser panic: %v", InvariantName(7), b, p)
		}
	}()
	return ring.ParseMessage(b)
}

// stepGuarded steps and reports a panic as the broken invariant that it is.
func stepGuarded(t *testing.T, m *ring.Machine, now ring.Instant, ev ring.Event) (eff ring.Effects, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			buf := make([]byte, 4096)
			t.Errorf("sim: invariant 7 (%s) broken: %+v makes a machine panic: %v\n%s", InvariantName(7), ev, p, buf[:runtime.Stack(buf, false)])
		}
	}()
	return m.Step(now, ev), true
}
