package rudp

import (
	"math/rand/v2"
	"testing"
	"time"

	"rain/ring"
)

// report tells end e of the state of a link.
func (w *cables) report(e, link int, s State) {
	w.do(e, w.ends[e].SetLink(w.now, link, Report{State: s}))
}

func TestAllLinksDeadFailAtOnce(t *testing.T) {
	w := newWire(t, 1, 2)
	w.run(10 * time.Millisecond)
	w.loss[0] = [MaxLinks]float64{1, 1}
	w.send(0, 1, testMessage(1, 50_000))
	w.report(0, 0, Dead)
	if _, said := w.said[0][1]; said {
		t.Fatal("a verdict with one link of two dead")
	}
	w.report(0, 1, Dead)
	if ok, said := w.said[0][1]; ok || !said {
		t.Error("all links are dead, and what was under way has no verdict")
	}
	sent := w.sent
	w.send(0, 2, testMessage(2, 10))
	if ok, said := w.said[0][2]; ok || !said {
		t.Error("all links are dead, and a new message waits")
	}
	if w.sent != sent {
		t.Error("sent over a dead link")
	}
	w.loss[0] = [MaxLinks]float64{}
	w.report(0, 1, Up)
	w.send(0, 3, testMessage(3, 5000))
	w.run(200 * time.Millisecond)
	w.check(1, map[uint64]int{1: 50_000, 2: 10, 3: 5000})
	if !w.said[0][3] {
		t.Error("a link is up again, and a message failed")
	}
}

// What flies on a link that dies is on another one at once.
func TestDeadLinkIsLeft(t *testing.T) {
	w := newWire(t, 1, 2)
	w.delay = func(*rand.Rand) ring.Instant { return ms / 10 }
	w.run(10 * time.Millisecond)
	w.loss[0] = [MaxLinks]float64{1}
	w.send(0, 1, testMessage(1, 60_000))
	start := w.now
	w.report(0, 0, Dead)
	for !w.said[0][1] && w.now.Sub(start) < 50*time.Millisecond {
		w.run(100 * time.Microsecond)
	}
	if took := w.now.Sub(start); !w.said[0][1] || took > 3*time.Millisecond {
		t.Errorf("arrived %v after %v, want within the least RTO", w.said[0][1], took)
	}
	if q := w.ends[0].Link(0).Queue; q != 0 {
		t.Errorf("%d fragments still count as flying on the dead link", q)
	}
}

func TestSpareWaits(t *testing.T) {
	w := newWire(t, 1, 2)
	for e := range 2 {
		w.report(e, 1, Spare)
	}
	w.run(10 * time.Millisecond)
	if n := perLink(t, w, 200_000); n[1] != 0 {
		t.Errorf("packets per link %v: the spare was used beside a link that works", n)
	}
	for e := range 2 { // dead, and nobody knows yet
		w.loss[e][0] = 1
	}
	w.send(0, 1, testMessage(1, 3000))
	w.run(25 * time.Millisecond)
	if !w.said[0][1] {
		t.Fatal("the spare did not help")
	}
	before := w.now
	w.send(0, 2, testMessage(2, 3000))
	for !w.said[0][2] && w.now.Sub(before) < 50*time.Millisecond {
		w.run(100 * time.Microsecond)
	}
	if took := w.now.Sub(before); took > 3*time.Millisecond {
		t.Errorf("the second message took %v: the spare should come first once the link has failed", took)
	}
	w.loss = [2][MaxLinks]float64{}
	w.do(0, w.ends[0].SetLink(w.now, 0, Report{State: Up, RTT: time.Millisecond / 10, Proven: w.now + 1}))
	w.run(10 * time.Millisecond)
	if n := perLink(t, w, 100_000); n[1] != 0 {
		t.Errorf("packets per link %v: the link is proven, and the spare is used", n)
	}
}

// One way is dead: data goes there by another link than the acknowledgements
// come back by.
func TestOneWay(t *testing.T) {
	for dir := range 2 {
		w := newWire(t, 1, 2)
		for e := range 2 {
			w.report(e, 1, Spare)
		}
		w.run(10 * time.Millisecond)
		w.loss[dir][0] = 1
		for ref := uint64(1); ref <= 20; ref++ {
			w.send(0, ref, testMessage(ref, 4000))
			w.send(1, ref, testMessage(ref, 4000))
			w.run(30 * time.Millisecond)
			if !w.said[0][ref] || !w.said[1][ref] {
				t.Fatalf("direction %d dead: message %d failed", dir, ref)
			}
		}
	}
}

// A link that is slow gets what it can carry, and does not slow the other.
func TestSlowLinkKeepsItsOwnWindow(t *testing.T) {
	w := newWire(t, 1, 2)
	free := [2]ring.Instant{}
	w.delay = func(*rand.Rand) ring.Instant { return ms / 10 }
	w.queue = func(link int) (ring.Instant, bool) { // 100 and 10 packets a millisecond
		cost := []ring.Instant{ms / 100, ms / 10}[link]
		free[link] = max(free[link], w.now) + cost
		wait := free[link] - w.now
		if wait > 20*ms { // the queue is full
			free[link] -= cost
			return 0, false
		}
		return wait, true
	}
	w.run(10 * time.Millisecond)
	start := w.now
	n := 0
	for ref := uint64(1); ref <= 8; ref++ {
		w.send(0, ref, testMessage(ref, ring.MaxMessage))
		for end := w.now.Add(time.Second); !w.said[0][ref] && w.now < end; {
			w.run(time.Millisecond)
		}
		if !w.said[0][ref] {
			t.Fatalf("message %d failed", ref)
		}
		n += ring.MaxMessage
	}
	perMS := float64(n) / 1200 / (float64(w.now.Sub(start)) / 1e6)
	if perMS < 50 {
		t.Errorf("%.0f packets a millisecond over links of 100 and 10", perMS)
	}
	t.Logf("%.0f packets a millisecond over links of 100 and 10", perMS)
}
