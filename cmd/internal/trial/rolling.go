//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// rolling stops and starts each node in turn, as an upgrade does, under load.
func rolling(ctx context.Context, c *cluster, o options) error {
	rounds := max(o.n, 1)
	return asked(ctx, o, fmt.Sprintf("rolling restart of %d nodes, %d times", len(c.file.Nodes), rounds), c.file.VIPs, func() error {
		for range rounds {
			for _, n := range c.file.Nodes {
				if err := c.control(n.Name, "stop"); err != nil {
					return err
				}
				if err := c.start(ctx, n.Name); err != nil {
					return err
				}
				if err := c.whole(ctx); err != nil {
					return err
				}
				sleep(ctx, 300*time.Millisecond)
			}
		}
		return nil
	})
}
