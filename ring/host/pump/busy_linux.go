package pump

import (
	"context"
	"time"
)

// awaitWork sleeps until the node is busy; false: ctx has ended.
func (p *Pump) awaitWork(ctx context.Context) bool {
	tick := time.NewTimer(p.cfg.Look)
	defer tick.Stop()
	at, used := time.Now(), cpu()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		now, c := time.Now(), cpu()
		took := now.Sub(at)
		if took >= p.cfg.Look+p.cfg.Late || load(c-used, took) >= p.cfg.Load {
			return true
		}
		at, used = now, c
		tick.Reset(p.cfg.Look)
	}
}

func load(used, took time.Duration) float64 { return float64(used) / float64(max(took, 1)) }

// gauge finds out when the node is idle again: on average, for a burst now and then,
// such as a collection of garbage, must not keep it busy for good.
type gauge struct {
	cfg  Config
	at   time.Time
	used time.Duration
}

func (p *Pump) newGauge() *gauge {
	return &gauge{cfg: p.cfg, at: time.Now(), used: cpu()}
}

func (g *gauge) idle() bool {
	now := time.Now()
	took := now.Sub(g.at)
	if took < g.cfg.Quiet {
		return false
	}
	c := cpu()
	quiet := load(c-g.used, took) < g.cfg.Load/2
	g.at, g.used = now, c
	return quiet
}
