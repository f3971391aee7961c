package vip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring"
	"rain/vip/guard"
	"rain/vip/loopback"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == guard.Argument {
		os.Exit(guard.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// TestPlannedHandOverRefusesNothing drains and moves a real address to and fro
// while clients connect without a pause: each gets its answer.
func TestPlannedHandOverRefusesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newCluster(t, ctx, 1)
	c.clock = func() ring.Instant {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
			panic(err)
		}
		return ring.Instant(ts.Nano())
	}
	c.lease = 5 * time.Second // no pause of a loaded machine shall end it
	port := freePort(t)
	var accepted sync.WaitGroup
	var nodes []*fake
	for id := range ring.NodeID(2) {
		d, err := loopback.New(ctx, loopback.Config{Port: port}, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		c.driver, c.serve = d, func(_ context.Context, ln net.Listener, _ netip.Addr) error {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return err
				}
				accepted.Go(func() { fmt.Fprintf(conn, "%d", id+1); conn.Close() })
			}
		}
		nodes = append(nodes, c.join(id+1, true, false))
		if id == 0 {
			if err := nodes[0].m.SetPools(ctx, testPools(2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	addr := testPools(1)[0].Addresses[0].Addr()
	waitFor(t, "two addresses served", func() bool {
		st := nodes[0].m.Status()
		return len(st) == 2 && st[0].Answering && st[1].Answering
	})
	var stop atomic.Bool
	var tries, failed atomic.Int64
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop.Store(true)
	for range 2 {
		clients.Go(func() {
			for !stop.Load() {
				tries.Add(1)
				if err := ask(netip.AddrPortFrom(addr, port)); err != nil {
					failed.Add(1)
					t.Errorf("client: %v", err)
				}
			}
		})
	}
	toAndFro(t, ctx, nodes, addr)
	stop.Store(true)
	clients.Wait()
	t.Logf("%d of %d connections failed in %d moves", failed.Load(), tries.Load(), nodes[0].m.Status()[0].Moves)
	if m := nodes[0].m.Status()[0].Moves; m < 8 {
		t.Errorf("the address moved %d times, want at least 8", m)
	}
	cancel()
	for _, n := range nodes {
		if err := <-n.done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}
	c.wg.Wait()
	accepted.Wait()
	if err := ask(netip.AddrPortFrom(addr, port)); err == nil {
		t.Error("somebody listens after all is over")
	}
}

// toAndFro moves what both nodes hold, in every planned way.
func toAndFro(t *testing.T, ctx context.Context, nodes []*fake, addr netip.Addr) {
	t.Helper()
	for range 4 {
		for _, n := range nodes {
			if err := n.m.Drain(ctx); err != nil {
				t.Fatal(err)
			}
			if err := n.m.Undrain(ctx); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "all take part", func() bool { return len(nodes[0].rider.Table().Draining) == 0 })
		if err := nodes[0].m.Move(ctx, addr, 2); err != nil {
			t.Fatal(err)
		}
		if err := nodes[0].m.Move(ctx, addr, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func ask(to netip.AddrPort) error {
	conn, err := net.DialTimeout("tcp", to.String(), 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	b, err := io.ReadAll(conn)
	if err == nil && len(b) != 1 {
		err = fmt.Errorf("answer %q", b)
	}
	return err
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return uint16(ln.Addr().(*net.TCPAddr).Port)
}
