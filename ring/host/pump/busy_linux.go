package pump

import (
	"context"
	"sync"
	"time"
)

// withoutAlarms is how many times as long a look waits while no alarm goes off.
const withoutAlarms = 20

// watch finds out when the node is busy, in the goroutines of the alarms.
type watch struct {
	cfg  Config
	busy chan struct{} // it is

	mu   sync.Mutex
	at   time.Time // of the last look; zero: nobody waits for the node to be busy
	used time.Duration
}

func (p *Pump) newWatch() *watch {
	w := &watch{cfg: p.cfg, busy: make(chan struct{}, 1)}
	for _, s := range p.sources {
		if s.Alarms != nil {
			s.Alarms(w.note)
		}
	}
	return w
}

// await sleeps until the node is busy; false: ctx has ended.
func (w *watch) await(ctx context.Context) bool {
	w.start()
	defer w.stop()
	tick := time.NewTicker(withoutAlarms * w.cfg.Look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.busy:
			return true
		case at := <-tick.C:
			w.note(time.Since(at))
		}
	}
}

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.busy: // of the last time
	default:
	}
	w.at, w.used = time.Now(), cpu()
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = time.Time{}
}

// note is told of an alarm that came so late, and looks if it is time to.
func (w *watch) note(late time.Duration) {
	if !w.mu.TryLock() {
		return // another alarm looks now
	}
	defer w.mu.Unlock()
	now := time.Now()
	took := now.Sub(w.at)
	if w.at.IsZero() || took < w.cfg.Look {
		return
	}
	c := cpu()
	if late >= w.cfg.Late || load(c-w.used, took) >= w.cfg.Load {
		select {
		case w.busy <- struct{}{}:
		default:
		}
	}
	w.at, w.used = now, c
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
