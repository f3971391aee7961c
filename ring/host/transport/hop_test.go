package transport

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"rain/ring"
)

// hopper sends each message on to the next node at once, in the goroutine that
// brought it.
type hopper struct {
	tr   *Transport
	next ring.Member
	hops func([]byte)
}

func (h *hopper) Message(_ ring.Member, msg []byte) {
	h.hops(msg)
	h.tr.Send(h.next, msg, 1)
}

func (h *hopper) Verdict(uint64, bool) {}

// BenchmarkHop lets a token of 300 bytes go round among four nodes on loopback
// as fast as it can.
func BenchmarkHop(b *testing.B) {
	const nodes = 4
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	var all [nodes]*Transport
	var who [nodes]ring.Member
	for i := range all {
		who[i] = ring.Member{ID: ring.NodeID(i + 1), Inc: 1}
		tr, err := Open(testConfig(1), who[i], log)
		if err != nil {
			b.Fatal(err)
		}
		all[i] = tr
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	done := make(chan struct{})
	var mu sync.Mutex
	var times []time.Duration
	last := time.Now()
	hops := func([]byte) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		times = append(times, now.Sub(last))
		last = now
		if len(times) == b.N {
			close(done)
		}
	}
	for i, tr := range all {
		for j := range all {
			tr.SetPeer(who[j].ID, all[j].Addrs())
		}
		wg.Go(func() { tr.Run(ctx, &hopper{tr, who[(i+1)%nodes], hops}) })
	}
	for all[0].Known(2) == 0 || all[1].Known(3) == 0 || all[2].Known(4) == 0 || all[3].Known(1) == 0 {
		time.Sleep(time.Millisecond)
	}
	b.ResetTimer()
	all[0].Send(who[1], make([]byte, 300), 1)
	select {
	case <-done:
	case <-time.After(time.Minute):
		b.Fatal("the token was lost")
	}
	b.StopTimer()
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
}
