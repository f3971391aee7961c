//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

type churnResult struct {
	Kills  int      `json:"kills"`
	Gets   summary  `json:"gets"`
	Late   int      `json:"failed_later_than_1s"` // after the last kill or start
	Failed []string `json:"failures,omitempty"`
	Load   string   `json:"load"`
}

// churn kills and starts nodes in a loop while striped objects are read from
// those that live. A get may fail within a second after a kill; later ones are
// faults.
func churn(ctx context.Context, c *cluster, o options) error {
	if err := c.makeBucket(ctx); err != nil {
		return err
	}
	h := web()
	defer h.CloseIdleConnections()
	const keys = 64
	for i := range keys {
		if _, err := c.putBody(ctx, h, c.file.Nodes[i%4].Admin, fmt.Sprintf("r%d", i), uint64(i), 1<<20); err != nil {
			return err
		}
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	var all readings
	var up [4]atomic.Bool
	var lastKill atomic.Int64
	var wg sync.WaitGroup
	readCtx, stop := context.WithCancel(ctx)
	defer wg.Wait()
	defer stop()
	var mu sync.Mutex
	res := churnResult{}
	start := time.Now()
	for i := range up {
		up[i].Store(true)
		wg.Go(func() {
			h := web()
			defer h.CloseIdleConnections()
			for k := i; readCtx.Err() == nil; k += 5 {
				n := c.file.Nodes[i]
				wasUp := up[i].Load()
				rctx, cancel := context.WithTimeout(readCtx, 20*time.Second)
				r := c.getBody(rctx, h, n, fmt.Sprintf("r%d", k%keys), false)
				cancel()
				if wasUp && up[i].Load() && readCtx.Err() == nil {
					all.add(r)
					if since := r.at.Add(r.took).Sub(time.Unix(0, lastKill.Load())); r.err != nil {
						mu.Lock()
						if since > time.Second {
							res.Late++
						}
						res.Failed = append(res.Failed, fmt.Sprintf("%.2f s in, %.2f s after a kill: %v", r.at.Sub(start).Seconds(), since.Seconds(), r.err))
						mu.Unlock()
					}
				}
				sleep(readCtx, 10*time.Millisecond)
			}
		})
	}
	err := c.killAndStart(ctx, o, &res.Kills, func(i int, alive bool) {
		lastKill.Store(time.Now().UnixNano())
		up[i].Store(alive)
	})
	stop()
	wg.Wait()
	if err != nil {
		return err
	}
	res.Gets, res.Load = all.between(start, time.Now()), load()
	tell(o, fmt.Sprintf("churn: %d kills: %v\n%d failed later than 1 s after a kill or start; load %s", res.Kills, res.Gets, res.Late, res.Load), res)
	for _, f := range res.Failed {
		fmt.Println(" ", f)
	}
	if res.Late > 0 {
		return fmt.Errorf("%d gets failed later than 1 s after a kill", res.Late)
	}
	return nil
}

// killAndStart kills nodes, one or two of the four at a time, one after the
// other, so that the rest keeps its quorum, and starts them again.
func (c *cluster) killAndStart(ctx context.Context, o options, kills *int, note func(i int, alive bool)) error {
	rng := rand.New(rand.NewPCG(o.seed, 3))
	for *kills < o.kills && ctx.Err() == nil {
		dead := rng.Perm(4)[:1+rng.IntN(2)]
		for _, i := range dead {
			note(i, false)
			if err := c.control(c.file.Nodes[i].Name, "crash"); err != nil {
				return err
			}
			note(i, false)
			*kills++
			sleep(ctx, time.Duration(1200+rng.IntN(800))*time.Millisecond)
		}
		for _, i := range dead {
			name := c.file.Nodes[i].Name
			if err := c.start(ctx, name); err != nil {
				return err
			}
			if err := c.ready(ctx, name); err != nil {
				return err
			}
			note(i, true)
			sleep(ctx, time.Duration(rng.IntN(1500))*time.Millisecond)
		}
	}
	return ctx.Err()
}
