package bulk

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
)

// What a server sends much of is held back once the token is late, over one link and
// over two; and all of it arrives.
func TestPacerHoldsBack(t *testing.T) {
	// Times that no machine is too slow for.
	timing := ring.Timing{IdleRotation: time.Second, Lease: 10 * time.Minute}
	for name, links := range map[string]int{"one link": 1, "two links": 2} {
		t.Run(name, func(t *testing.T) {
			p := NewPacer(timing)
			s := serve(t, func(c *Config) {
				c.Pacer = p
				for range links - 1 {
					c.Listen = append(c.Listen, local)
				}
			})
			const size = 8 << 20
			s.Handle("much", func(_ context.Context, _ ring.NodeID, conn net.Conn) {
				_, _ = conn.Write(make([]byte, size)) // the client sees what is missing
			})
			c, err := NewClient(key, clientID)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetPeer(serverID, s.Addrs())
			fetch := func() {
				t.Helper()
				conn, err := c.Dial(t.Context(), serverID, "much")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if n, err := io.Copy(io.Discard, conn); err != nil || n != size {
					t.Fatalf("%d bytes, %v", n, err)
				}
			}
			p.Rotation(timing.IdleRotation)
			fetch()
			if st := p.Stats(); st != (PacerStats{}) {
				t.Fatalf("held back while the token is on time: %+v", st)
			}
			// It was long away, and this node had sent much just then.
			p.mu.Lock()
			p.limit.Take(clock.Now(), 100<<20)
			p.mu.Unlock()
			p.Rotation(timing.Lease)
			if st := p.Stats(); st.Rate == 0 {
				t.Fatalf("no limit: %+v", st)
			}
			// More than the limit lets go in seconds, so that a slow machine is held up, too.
			p.mu.Lock()
			p.limit.Take(clock.Now(), 10<<30)
			p.mu.Unlock()
			fetch()
			if st := p.Stats(); st.Held == 0 {
				t.Errorf("nothing was held back: %+v", st)
			}
		})
	}
}

// A nil Pacer holds nothing back.
func TestNoPacer(t *testing.T) {
	var p *Pacer
	p.Rotation(time.Second)
	if wait := p.book(1 << 30); wait != 0 || p.Stats() != (PacerStats{}) {
		t.Errorf("a nil Pacer waits %v", wait)
	}
}
