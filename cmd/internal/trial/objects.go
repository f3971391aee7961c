//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// objectsResult is what the trial objects measured.
type objectsResult struct {
	SizeMiB int64        `json:"size_mib"`
	Put     float64      `json:"put_mb_s"`
	Cold    float64      `json:"get_cold_mb_s"` // from the symbols
	Warm    float64      `json:"get_warm_mb_s"` // the third time on one node
	Pairs   []pairResult `json:"pairs"`
	Load    string       `json:"load"`
}

type pairResult struct {
	Dead  string    `json:"dead"`
	Equal bool      `json:"equal"`
	MBps  []float64 `json:"get_mb_s"` // from each of the two living nodes
}

// objects puts one large object, kills every pair of the four nodes in turn and
// reads it at once from both others: it must be the same.
func objects(ctx context.Context, c *cluster, o options) error {
	if err := c.makeBucket(ctx); err != nil {
		return err
	}
	h := web()
	defer h.CloseIdleConnections()
	mib := o.sizeOr(256)
	size := mib << 20
	res := objectsResult{SizeMiB: mib, Load: load()}
	start := time.Now()
	sum, err := c.putBody(ctx, h, c.file.Nodes[0].Admin, "large", 1, size)
	if err != nil {
		return err
	}
	res.Put = mbps(size, time.Since(start))
	for i := range 3 {
		r := c.getBody(ctx, h, c.file.Nodes[1], "large", true)
		if r.err != nil || r.sum != sum {
			return fmt.Errorf("get with all nodes up: %w, sha256 %s", r.err, r.sum)
		}
		if i == 0 {
			res.Cold = mbps(size, r.took)
		}
		res.Warm = mbps(size, r.took)
	}
	bad := 0
	for i := range c.file.Nodes {
		for j := range i {
			p, err := c.onePairOfDeaths(ctx, c.file.Nodes[j].Name, c.file.Nodes[i].Name, sum)
			if err != nil {
				return err
			}
			if !p.Equal {
				bad++
			}
			res.Pairs = append(res.Pairs, p)
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "object of %d MiB: put %.0f MB/s, get %.0f MB/s from symbols, %.0f MB/s the third time; load %s", mib, res.Put, res.Cold, res.Warm, res.Load)
	for _, p := range res.Pairs {
		fmt.Fprintf(&text, "\n%-6s dead: equal %v, get %.0f MB/s", p.Dead, p.Equal, p.MBps)
	}
	tell(o, text.String(), res)
	if bad > 0 {
		return fmt.Errorf("%d pairs of deaths changed or lost the object", bad)
	}
	return nil
}

func mbps(size int64, took time.Duration) float64 { return float64(size) / 1e6 / took.Seconds() }

// onePairOfDeaths kills two nodes at once and reads from the others without
// waiting for anything.
func (c *cluster) onePairOfDeaths(ctx context.Context, a, b, sum string) (p pairResult, err error) {
	p = pairResult{Dead: a + "," + b, Equal: true}
	if err := c.whole(ctx); err != nil {
		return p, err
	}
	if err := c.read(); err != nil {
		return p, err
	}
	var living []demoNode
	for _, n := range c.file.Nodes {
		if n.Name != a && n.Name != b {
			living = append(living, n)
			continue
		}
		if err := syscall.Kill(n.Pid, syscall.SIGKILL); err != nil {
			return p, fmt.Errorf("kill %s: %w", n.Name, err)
		}
	}
	h := web()
	defer h.CloseIdleConnections()
	for _, n := range living {
		r := c.getBody(ctx, h, n, "large", true)
		if r.err != nil || r.sum != sum {
			p.Equal = false
			fmt.Printf("%s dead: %s: sha256 %s, %v\n", p.Dead, n.Name, r.sum, r.err)
		}
		p.MBps = append(p.MBps, mbps(r.size, r.took))
	}
	for _, n := range []string{a, b} {
		if err := c.start(ctx, n); err != nil {
			return p, err
		}
	}
	return p, nil
}

// start starts a node that was killed, once the demo has seen its end.
func (c *cluster) start(ctx context.Context, name string) error {
	for range 100 {
		if n, err := c.node(name); err == nil && n.State != "running" {
			break
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	return c.control(name, "start")
}
