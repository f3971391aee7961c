package transport

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"rain/ring/host/clock"
)

// A path that has yet to come up is pinged at full speed for a while, however
// many paths share the budget: nothing can move to it before it is up.
func TestYoungPathsHurry(t *testing.T) {
	cfg := testConfig(1)
	cfg.PingBudget, cfg.PingEvery = 1, time.Minute // four paths: each every 4 s
	a, err := Open(cfg, m1, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var addrs []netip.AddrPort
	for port := uint16(9); port < 13; port++ {
		addrs = append(addrs, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	}
	a.SetPeer(m2.ID, addrs)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := clock.Now()
	p := a.peers[m2.ID]
	a.adopt(now, p, m2.Inc, a.keys.Load().Session(m1, m2))
	a.pace(now)
	if every := p.paths[0].every; every != 4*time.Second {
		t.Fatalf("the budget allows a ping of each path every %v", every)
	}
	pings, looks := 0, 0
	end := now.Add(youngFor + 2*cfg.Link.Every)
	for ; now < end; now = now.Add(time.Millisecond) { // as if a datagram came each time
		due, from := a.linksAt, a.linksFrom
		a.tickLinks(now)
		if a.linksAt != due {
			pings++
		}
		if a.linksFrom != from {
			looks++
		}
	}
	if looks > pings+2 {
		t.Errorf("all paths were looked at %d times to ping %d times", looks, pings)
	}
	if least := int(youngFor/cfg.Link.Every) - 1; pings < least {
		t.Errorf("%d rounds of pings in the first %v, want at least %d", pings, youngFor, least)
	}
	a.pace(now)
	now = a.linksAt
	a.tickLinks(now) // the last of the fast ones
	if wait := a.linksAt.Sub(now); wait < 2*time.Second {
		t.Errorf("the next ping is due in %v: a path that does not come up must not hurry for ever", wait)
	}
}
