package rudp

import (
	"testing"
	"time"

	"rain/ring"
)

// Links by neighbours are led another way as soon as one of them fails. The verdict
// on a dead peer comes no later for that: each of them has had its turn once.
func TestVerdictWhileLinksMove(t *testing.T) {
	for _, timeout := range []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond} {
		for direct := 1; direct <= 4; direct++ {
			took := map[bool]time.Duration{}
			for _, moves := range []bool{false, true} {
				took[moves] = silent(t, timeout, direct, moves)
			}
			if took[true] > took[false]+DefaultConfig().MinRTO {
				t.Errorf("send timeout %v, %d direct links: the verdict came after %v, without moves after %v", timeout, direct, took[true], took[false])
			}
		}
	}
}

// silent sends to a peer that never answers, and returns when that was told.
func silent(t *testing.T, timeout time.Duration, direct int, moves bool) time.Duration {
	t.Helper()
	cfg := DefaultConfig()
	cfg.SendTimeout, cfg.Links, cfg.PingEvery = timeout, direct+2, 0
	start := ring.Instant(time.Hour)
	c, err := New(cfg, start)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		c.SetLink(start, direct+i, Report{State: Spare})
	}
	now := start
	eff := c.Send(now, 1, []byte("x"))
	for len(eff.Verdicts) == 0 {
		if now = eff.Wake; now == 0 || now.Sub(start) > time.Minute {
			t.Fatal("no verdict")
		}
		eff = c.Tick(now)
		for i := direct; moves && len(eff.Verdicts) == 0 && i < direct+2; i++ {
			if c.Link(i).Fails > 0 {
				c.ResetLink(now, i)
				eff = c.Tick(now)
			}
		}
	}
	return now.Sub(start)
}
