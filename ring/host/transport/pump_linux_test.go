package transport

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/host/pump"
)

// Messages come whole and in order while a pump takes the sockets and timers
// over and gives them back all the time, at both ends.
func TestDeliveryThroughPumps(t *testing.T) {
	a, b := pairUp(t, testConfig(2))
	cfg := pump.DefaultConfig()
	cfg.Look, cfg.Load, cfg.Late, cfg.Quiet = time.Millisecond, 1e12, time.Nanosecond, time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for _, n := range []*node{a, b} {
		sources, err := n.Sources()
		if err != nil {
			t.Fatal(err)
		}
		p, err := pump.New(cfg, sources, n.log)
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- p.Run(ctx) }()
	}
	const count = 500
	for i := range count {
		a.Send(b.me, fmt.Appendf(nil, "%d", i), uint64(i+1))
		b.Send(a.me, fmt.Appendf(nil, "%d", i), uint64(i+1))
		if i%10 == 0 {
			time.Sleep(time.Millisecond) // several changes meanwhile
		}
	}
	for _, x := range []struct {
		n    *node
		from ring.Member
	}{{b, a.me}, {a, b.me}} {
		x.n.until("last message", func() bool { return len(x.n.got()) >= count })
		for i, m := range x.n.got() {
			if m != (message{x.from, fmt.Sprint(i)}) {
				t.Fatalf("message %d is %v", i, m)
			}
		}
		for i := range count {
			if !x.n.verdict(uint64(i + 1)) {
				t.Fatalf("message %d failed", i)
			}
		}
	}
	cancel()
	for range 2 {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("a pump does not end")
		}
	}
}
