package rudp

import (
	"math/rand/v2"
	"testing"
	"time"

	"rain/ring"
)

// perLink counts the packets with fragments that a message makes on each link.
func perLink(t *testing.T, w *cables, size int) []int {
	t.Helper()
	n := make([]int, len(w.ends[0].links))
	before := make([]uint64, len(n))
	for i := range n {
		before[i] = w.ends[0].links[i].sent
	}
	w.send(0, uint64(w.now), testMessage(1, size))
	w.run(50 * time.Millisecond)
	for i := range n {
		n[i] = int(w.ends[0].links[i].sent - before[i])
	}
	return n
}

func TestEqualLinksShareTheLoad(t *testing.T) {
	w := newWire(t, 1, 2)
	w.delay = func(*rand.Rand) ring.Instant { return ms / 10 }
	w.run(10 * time.Millisecond)
	if n := perLink(t, w, 120_000); n[0] < 40 || n[1] < 40 {
		t.Errorf("packets per link %v, want about as many on each", n)
	}
}

func TestSlowLinkIsSpared(t *testing.T) {
	w := newWire(t, 1, 2)
	w.ends[0].links[1].sample(5 * time.Millisecond)
	w.run(10 * time.Millisecond)
	w.ends[0].links[1].srtt = 5 * time.Millisecond
	if n := perLink(t, w, 12_000); n[1] != 0 {
		t.Errorf("packets per link %v, want none on the slow one", n)
	}
}

func TestLinksChangeUnderWay(t *testing.T) {
	w := newWire(t, 1, 2)
	w.run(10 * time.Millisecond)
	w.loss[0] = [MaxLinks]float64{1, 1, 0}
	w.send(0, 1, testMessage(1, 50_000))
	w.run(5 * time.Millisecond)
	for _, e := range w.ends {
		e.SetLinks(w.now, 3)
	}
	w.run(50 * time.Millisecond)
	if !w.said[0][1] {
		t.Error("a third link came that works, and the message failed")
	}
	for _, e := range w.ends {
		e.SetLinks(w.now, 1)
	}
	w.loss[0][0] = 0
	w.send(0, 2, testMessage(2, 50_000))
	w.run(50 * time.Millisecond)
	w.check(1, map[uint64]int{1: 50_000, 2: 50_000})
}

// A pause of ours is no silence of the peer.
func TestLateTicksDoNotCount(t *testing.T) {
	w := newWire(t, 1, 1)
	w.loss[0][0] = 1
	w.send(0, 1, testMessage(1, 100))
	start := w.now
	for range 3 {
		w.now += 40 * ms
		w.do(0, w.ends[0].Tick(w.now))
	}
	if _, said := w.said[0][1]; said {
		t.Errorf("a verdict after %v, of which nearly all was slept", w.now.Sub(start))
	}
	w.run(40 * time.Millisecond)
	if ok, said := w.said[0][1]; ok || !said {
		t.Error("awake again, and no failure is told")
	}
}

// Where answers begin to be late, as on full processors, packets are soon sent
// once again: an answer to one that was sent twice cannot be timed, and without
// the longer wait none was ever sent once.
func TestLateAnswersAreWaitedFor(t *testing.T) {
	w := newWire(t, 1, 2)
	delay := ms / 10
	w.delay = func(*rand.Rand) ring.Instant { return delay }
	w.run(20 * time.Millisecond)
	for i := range w.ends {
		w.ends[i].cfg.PingEvery = 0
		for l := range w.ends[i].links {
			w.ends[i].links[l].sample(200 * time.Microsecond)
			w.ends[i].links[l].pingAt = 0
		}
	}
	delay = 5 * ms / 2
	const messages = 40
	before := w.ends[0].links[0].sent + w.ends[0].links[1].sent
	for i := range uint64(messages) {
		w.send(0, 100+i, testMessage(i, 300))
		w.run(12 * time.Millisecond)
		if !w.said[0][100+i] {
			t.Fatalf("message %d has no verdict", i)
		}
	}
	if n := w.ends[0].links[0].sent + w.ends[0].links[1].sent - before; n > messages+messages/4 {
		t.Errorf("%d packets for %d messages: they are sent again though nothing is lost", n, messages)
	}
}
