package rudp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rain/ring"
)

const ms = ring.Instant(time.Millisecond)

// cables is a pair of Conns with lossy links between them, in virtual time.
type cables struct {
	t       *testing.T
	rng     *rand.Rand
	now     ring.Instant
	ends    [2]*Conn
	wake    [2]ring.Instant
	flights []flight
	seq     int
	// fault of link l in the direction from end e
	loss  [2][MaxLinks]float64
	dup   float64
	delay func(*rand.Rand) ring.Instant
	queue func(link int) (wait ring.Instant, ok bool) // of data from end 0, if not nil
	got   [2][][]byte
	said  [2]map[uint64]bool
	sent  int // packets
}

type flight struct {
	at   ring.Instant
	n    int
	to   int
	link int
	b    []byte
}

func newWire(t *testing.T, seed uint64, links int) *cables {
	w := &cables{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: 1000 * ms}
	w.delay = func(r *rand.Rand) ring.Instant { return ms/20 + ring.Instant(r.Int64N(int64(ms/20))) }
	cfg := DefaultConfig()
	cfg.Links = links
	for e := range w.ends {
		c, err := New(cfg, w.now)
		if err != nil {
			t.Fatal(err)
		}
		w.ends[e] = c
		w.said[e] = map[uint64]bool{}
		w.wake[e] = w.now
	}
	return w
}

func (w *cables) do(e int, eff Effects) {
	w.wake[e] = eff.Wake
	for _, m := range eff.Deliver {
		w.got[e] = append(w.got[e], bytes.Clone(m))
	}
	for _, v := range eff.Verdicts {
		if _, twice := w.said[e][v.Ref]; twice {
			w.t.Fatalf("end %d: two verdicts on %d", e, v.Ref)
		}
		w.said[e][v.Ref] = v.OK
	}
	for _, d := range eff.Send {
		w.sent++
		n := 1
		if w.rng.Float64() < w.dup {
			n = 2
		}
		for range n {
			if w.rng.Float64() < w.loss[e][d.Link] {
				continue
			}
			var wait ring.Instant
			if w.queue != nil && e == 0 {
				ok := false
				if wait, ok = w.queue(d.Link); !ok {
					continue
				}
			}
			w.seq++
			w.flights = append(w.flights, flight{w.now + wait + w.delay(w.rng), w.seq, 1 - e, d.Link, bytes.Clone(d.Packet)})
		}
	}
}

func (w *cables) send(e int, ref uint64, msg []byte) { w.do(e, w.ends[e].Send(w.now, ref, msg)) }

// run lets d of virtual time pass.
func (w *cables) run(d time.Duration) {
	end := w.now.Add(d)
	for {
		next, what := end, -1
		for i, f := range w.flights {
			if f.at < next || f.at == next && what >= 0 && f.n < w.flights[what].n {
				next, what = f.at, i
			}
		}
		tick := -1
		for e := range w.ends {
			if w.wake[e] != 0 && w.wake[e] < next {
				next, tick = max(w.wake[e], w.now), e
			}
		}
		if next >= end && what < 0 && tick < 0 {
			w.now = end
			return
		}
		w.now = next
		if tick >= 0 {
			w.do(tick, w.ends[tick].Tick(w.now))
			if w.wake[tick] != 0 && w.wake[tick] <= w.now {
				w.t.Fatalf("end %d wants to wake at %d, and has just been woken", tick, w.wake[tick])
			}
			continue
		}
		f := w.flights[what]
		w.flights = append(w.flights[:what], w.flights[what+1:]...)
		eff, err := w.ends[f.to].Receive(w.now, f.link, f.b)
		if err != nil {
			w.t.Fatalf("Receive of an honest packet: %v", err)
		}
		w.do(f.to, eff)
	}
}

// testMessage makes a message that carries its number and can be checked.
func testMessage(ref uint64, size int) []byte {
	b := make([]byte, max(size, 8))
	for i := range b {
		b[i] = byte(uint64(i) * (ref + 7))
	}
	binary.BigEndian.PutUint64(b, ref)
	return b
}

// check holds what end e got against the guarantees; sizes are by ref.
func (w *cables) check(e int, sizes map[uint64]int) {
	w.t.Helper()
	seen := map[uint64]bool{}
	last := uint64(0)
	for _, m := range w.got[e] {
		ref := binary.BigEndian.Uint64(m)
		if ref <= last {
			w.t.Fatalf("end %d: message %d came after %d", e, ref, last)
		}
		last = ref
		seen[ref] = true
		if !bytes.Equal(m, testMessage(ref, sizes[ref])) {
			w.t.Fatalf("end %d: message %d came mangled", e, ref)
		}
	}
	for ref := range sizes {
		ok, said := w.said[1-e][ref]
		if !said {
			w.t.Fatalf("end %d: no verdict on %d", 1-e, ref)
		}
		if ok && !seen[ref] {
			w.t.Fatalf("end %d: verdict OK on %d, but it was not delivered", 1-e, ref)
		}
	}
}

func TestChaos(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			links := 1 + int(seed%3)
			w := newWire(t, seed, links)
			w.dup = 0.1
			w.delay = func(r *rand.Rand) ring.Instant { return ring.Instant(r.Int64N(int64(3 * ms))) }
			sizes := [2]map[uint64]int{{}, {}}
			for ref := uint64(1); ref <= 150; ref++ {
				if ref%10 == 1 { // another weather
					for e := range 2 {
						for l := range links {
							w.loss[e][l] = []float64{0, 0.05, 0.3, 0.9, 1}[w.rng.IntN(5)]
						}
					}
				}
				e := w.rng.IntN(2)
				size := w.rng.IntN(900)
				if w.rng.IntN(8) == 0 {
					size = w.rng.IntN(ring.MaxMessage)
				}
				sizes[1-e][ref] = max(size, 8)
				w.send(e, ref, testMessage(ref, size))
				w.run(time.Duration(w.rng.Int64N(int64(8 * time.Millisecond))))
			}
			w.loss = [2][MaxLinks]float64{}
			w.run(3 * time.Second)
			w.check(0, sizes[0])
			w.check(1, sizes[1])
			for e, c := range w.ends {
				if c.out.flying != 0 || c.out.missing != 0 || c.out.bytes != 0 || len(c.out.msgs) != 0 || c.in.high != c.in.head {
					t.Errorf("end %d is not empty: %d flying, %d missing, %d bytes, %d messages, high %d, head %d",
						e, c.out.flying, c.out.missing, c.out.bytes, len(c.out.msgs), c.in.high, c.in.head)
				}
			}
			// After the storm the way is free.
			w.send(0, 1000, testMessage(1000, 40))
			w.run(20 * time.Millisecond)
			if !w.said[0][1000] {
				t.Error("a message over healthy links failed")
			}
		})
	}
}

func TestSameSeedSamePackets(t *testing.T) {
	trace := func() int {
		w := newWire(t, 7, 2)
		w.loss[0][0], w.loss[1][1] = 0.3, 0.3
		for ref := uint64(1); ref < 40; ref++ {
			w.send(0, ref, testMessage(ref, int(ref)*2000))
			w.run(4 * time.Millisecond)
		}
		return w.sent
	}
	if a, b := trace(), trace(); a != b {
		t.Errorf("%d packets, then %d: not deterministic", a, b)
	}
}

func TestHealthyLinkCostsTwoPackets(t *testing.T) {
	w := newWire(t, 1, 1)
	w.run(10 * time.Millisecond)
	before := w.sent
	w.send(0, 1, testMessage(1, 200))
	w.run(10 * time.Millisecond)
	if !w.said[0][1] || len(w.got[1]) != 1 || w.sent-before != 2 {
		t.Errorf("verdict %v, %d delivered, %d packets; want OK, 1, 2", w.said[0][1], len(w.got[1]), w.sent-before)
	}
}

func TestBurstDoesNotMelt(t *testing.T) {
	w := newWire(t, 1, 1)
	w.delay = func(*rand.Rand) ring.Instant { return ms / 10 }
	const size = 256 << 10
	w.send(0, 1, testMessage(1, size))
	if n := len(w.flights); n > startCwnd {
		t.Errorf("%d packets at once, want at most %d", n, startCwnd)
	}
	w.run(20 * time.Millisecond)
	if !w.said[0][1] {
		t.Fatal("a burst over a healthy link failed")
	}
	if data := size/1200 + 1; w.sent > data*3/2 {
		t.Errorf("%d packets for %d fragments", w.sent, data)
	}
}

func TestDeadLinkOfTwo(t *testing.T) {
	w := newWire(t, 1, 2)
	w.loss[0][0], w.loss[1][0] = 1, 1
	for ref := uint64(1); ref <= 50; ref++ {
		w.send(0, ref, testMessage(ref, 300))
		w.run(15 * time.Millisecond)
		if !w.said[0][ref] {
			t.Fatalf("message %d failed, though link 1 works", ref)
		}
	}
	before := w.sent
	for ref := uint64(51); ref <= 60; ref++ {
		w.send(0, ref, testMessage(ref, 300))
		w.run(5 * time.Millisecond)
		if !w.said[0][ref] {
			t.Fatalf("message %d waited for the dead link", ref)
		}
	}
	if w.sent-before > 25 {
		t.Errorf("%d packets for 10 messages: the dead link is still used", w.sent-before)
	}
	w.loss[0][0], w.loss[1][0], w.loss[0][1], w.loss[1][1] = 0, 0, 1, 1
	w.send(0, 100, testMessage(100, 300))
	w.run(30 * time.Millisecond)
	if !w.said[0][100] {
		t.Error("the dead link came back, the other died, and the message failed")
	}
}

// The acknowledgements are lost, the message is not: the verdict is not OK, the
// message is there, and a later message does not wait for anything.
func TestOneWayCut(t *testing.T) {
	w := newWire(t, 1, 1)
	w.loss[1][0] = 1
	w.send(0, 1, testMessage(1, 100))
	w.run(29 * time.Millisecond)
	if _, said := w.said[0][1]; said {
		t.Error("a verdict before the send timeout")
	}
	w.run(6 * time.Millisecond)
	if ok, said := w.said[0][1]; !said || ok {
		t.Errorf("verdict %v (said: %v), want a failure after the send timeout", ok, said)
	}
	if len(w.got[1]) != 1 {
		t.Errorf("%d delivered, want 1", len(w.got[1]))
	}
	w.loss[1][0] = 0
	w.send(0, 2, testMessage(2, 100))
	w.run(30 * time.Millisecond)
	if !w.said[0][2] || len(w.got[1]) != 2 {
		t.Errorf("after the cut: verdict %v, %d delivered in all; want OK, 2", w.said[0][2], len(w.got[1]))
	}
}

// Message 1 is given up while 2 is acknowledged behind it: 2 must be delivered
// though nothing more is ever sent.
func TestGapIsSkipped(t *testing.T) {
	w := newWire(t, 1, 1)
	w.run(10 * time.Millisecond)
	w.loss[0][0] = 1
	w.send(0, 1, testMessage(1, 100))
	w.run(29 * time.Millisecond)
	c := w.ends[0]
	w.loss[0][0] = 0
	w.send(0, 2, testMessage(2, 100))
	c.out.frag(0).rtoAt = w.now + 100*ms // 1 is not sent again
	w.run(200 * time.Millisecond)
	w.check(1, map[uint64]int{1: 100, 2: 100})
	if w.said[0][1] || !w.said[0][2] || len(w.got[1]) != 1 {
		t.Errorf("verdicts %v, %d delivered; want 1 failed, 2 OK, 1", w.said[0], len(w.got[1]))
	}
}

func TestDeadPeer(t *testing.T) {
	w := newWire(t, 1, 2)
	w.loss[0] = [MaxLinks]float64{1, 1}
	for ref := uint64(1); ref <= 20; ref++ {
		w.send(0, ref, testMessage(ref, 100_000))
	}
	w.run(45 * time.Millisecond)
	if len(w.said[0]) != 20 {
		t.Errorf("%d of 20 verdicts soon after the send timeout", len(w.said[0]))
	}
	before := w.sent
	w.run(time.Second)
	w.sent -= before
	if w.sent > 40 {
		t.Errorf("%d packets in a second to a dead peer", w.sent)
	}
}

// The process sleeps past the deadline with the acknowledgement in its socket.
func TestSleeperTriesOnceMore(t *testing.T) {
	w := newWire(t, 1, 1)
	w.run(10 * time.Millisecond)
	w.send(0, 1, testMessage(1, 100))
	w.now += 500 * ms
	w.do(0, w.ends[0].Tick(w.now))
	if _, said := w.said[0][1]; said {
		t.Fatal("a verdict before the socket was looked at")
	}
	w.run(10 * time.Millisecond)
	if !w.said[0][1] {
		t.Error("the peer lives, and the message failed")
	}
}

func TestAbortAndLimits(t *testing.T) {
	w := newWire(t, 1, 1)
	w.send(0, 1, make([]byte, ring.MaxMessage+1))
	if ok, said := w.said[0][1]; !said || ok {
		t.Error("an oversized message did not fail at once")
	}
	for ref := uint64(2); ref < 40; ref++ {
		w.send(0, ref, make([]byte, ring.MaxMessage))
	}
	failed := len(w.said[0])
	if failed < 20 {
		t.Errorf("%d failed; the queue has no bound", failed)
	}
	if got := len(w.ends[0].Abort()); got+failed != 39 {
		t.Errorf("Abort gave %d verdicts, want %d", got, 39-failed)
	}
}
