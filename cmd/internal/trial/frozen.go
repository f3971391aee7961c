//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

type frozenResult struct {
	Before summary `json:"before"`
	Frozen summary `json:"frozen"`
	Load   string  `json:"load"`
}

// frozen asks for objects of 1 MiB every 20 ms from three nodes while the fourth
// is stopped: none may fail. Each node reads each object once, so that nothing
// comes from a cache.
func frozen(ctx context.Context, c *cluster, o options) error {
	n := o.n
	if n == 0 {
		n = 750
	}
	if err := c.makeBucket(ctx); err != nil {
		return err
	}
	h := web()
	defer h.CloseIdleConnections()
	before := n / 3
	keys := (n+before)/3 + 1
	for i := range keys {
		if _, err := c.putBody(ctx, h, c.file.Nodes[i%3].Admin, fmt.Sprintf("f%d", i), uint64(i), 1<<20); err != nil {
			return err
		}
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	var all readings
	var wg sync.WaitGroup
	ask := func(i int) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			all.add(c.getBody(ctx, h, c.file.Nodes[i%3], fmt.Sprintf("f%d", i/3), false))
		})
		sleep(ctx, 20*time.Millisecond)
	}
	t0 := time.Now()
	for i := range before {
		ask(i)
	}
	wg.Wait()
	pid := c.file.Nodes[3].Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	t1 := time.Now()
	for i := before; i < before+n; i++ {
		ask(i)
	}
	wg.Wait()
	t2 := time.Now()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		return err
	}
	res := frozenResult{all.between(t0, t1), all.between(t1, t2), load()}
	tell(o, fmt.Sprintf("all nodes up:    %v\none node frozen: %v\nload %s", res.Before, res.Frozen, res.Load), res)
	switch {
	case res.Frozen.Failed > 0:
		return fmt.Errorf("%d gets failed with one node frozen", res.Frozen.Failed)
	case res.Frozen.P99 >= 100:
		return fmt.Errorf("p99 is %.1f ms with one node frozen; under 100 ms is promised on an unloaded machine", res.Frozen.P99)
	}
	return nil
}
