//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// faultTally counts what was done to the nodes.
type faultTally struct{ crashes, freezes, double int }

// faultsAtRandom crashes and freezes nodes, one at a time and now and then a
// second one while the first is away, and brings them back.
func faultsAtRandom(ctx context.Context, c *cluster, o options) (t faultTally, err error) {
	rng := rand.New(rand.NewPCG(o.seed, 3))
	if err := c.read(); err != nil {
		return t, err
	}
	names := make([]string, 0, len(c.file.Nodes))
	for _, n := range c.file.Nodes {
		names = append(names, n.Name)
	}
	away := func(name string) (back string, err error) {
		if rng.IntN(2) == 0 {
			t.crashes++
			return "start", c.control(name, "crash")
		}
		t.freezes++
		return "thaw", c.control(name, "freeze")
	}
	for t.crashes+t.freezes < o.kills {
		i := rng.IntN(len(names))
		first, second := names[i], names[(i+1+rng.IntN(len(names)-1))%len(names)]
		back, err := away(first)
		if err != nil {
			return t, err
		}
		sleep(ctx, time.Duration(50+rng.IntN(1200))*time.Millisecond)
		if rng.IntN(4) == 0 && t.crashes+t.freezes < o.kills {
			t.double++
			back, err := away(second)
			if err != nil {
				return t, err
			}
			sleep(ctx, time.Duration(50+rng.IntN(800))*time.Millisecond)
			if err := c.control(second, back); err != nil {
				return t, err
			}
		}
		if err := c.control(first, back); err != nil {
			return t, err
		}
		if !sleep(ctx, time.Duration(100+rng.IntN(1500))*time.Millisecond) {
			return t, ctx.Err()
		}
	}
	return t, nil
}
