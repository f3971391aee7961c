//go:build linux

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

type emptiedResult struct {
	Lacked  int64   `json:"lacked_bytes"`  // that the node's disk held
	Written int64   `json:"written_bytes"` // by the repair
	Same    bool    `json:"same_files"`
	Seconds float64 `json:"repair_s"` // from the start of the node to nothing missing
	Before  summary `json:"before"`
	During  summary `json:"during"`
	Load    string  `json:"load"`
}

// emptied replaces a node's disk by an empty one while the other nodes are read
// from: the node must write exactly what it lacks.
func emptied(ctx context.Context, c *cluster, o options) error {
	if err := c.makeBucket(ctx); err != nil {
		return err
	}
	h := web()
	defer h.CloseIdleConnections()
	const objectSize = 8 << 20
	for i := range max(o.sizeOr(256)<<20/objectSize, 1) {
		if _, err := c.putBody(ctx, h, c.file.Nodes[i%4].Admin, fmt.Sprintf("e%d", i), uint64(i), objectSize); err != nil {
			return err
		}
	}
	const keys = 200
	for i := range keys {
		if _, err := c.putBody(ctx, h, c.file.Nodes[i%4].Admin, fmt.Sprintf("r%d", i), uint64(i), 1<<20); err != nil {
			return err
		}
		if _, err := c.putBody(ctx, h, c.file.Nodes[i%4].Admin, fmt.Sprintf("s%d", i), uint64(i), 10<<10); err != nil {
			return err
		}
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	if err := c.read(); err != nil {
		return err
	}
	victim := c.file.Nodes[3]
	folder := filepath.Join(c.dir, victim.Name, "data", "store", "objects")
	held, lacked, err := files(folder)
	if err != nil {
		return err
	}
	var all readings
	var wg sync.WaitGroup
	readCtx, stop := context.WithCancel(ctx)
	defer wg.Wait()
	defer stop()
	for w := range 4 {
		wg.Go(func() { c.readOn(readCtx, &all, w, keys) })
	}
	t0 := time.Now()
	sleep(ctx, 5*time.Second)
	if err := syscall.Kill(victim.Pid, syscall.SIGKILL); err != nil {
		return err
	}
	if err := c.gone(ctx, victim.Name); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	t1 := time.Now()
	if err := c.control(victim.Name, "start"); err != nil {
		return err
	}
	if err := c.repaired(ctx, victim.Name); err != nil {
		return err
	}
	t2 := time.Now()
	stop()
	wg.Wait()
	written, err := c.metric(ctx, victim, "rain_store_repair_bytes_total")
	if err != nil {
		return err
	}
	now, _, err := files(folder)
	if err != nil {
		return err
	}
	res := emptiedResult{
		Lacked: lacked, Written: int64(written), Same: sameFiles(held, now), Seconds: t2.Sub(t1).Seconds(),
		Before: all.between(t0, t1), During: all.between(t1, t2), Load: load(),
	}
	tell(o, fmt.Sprintf("emptied: %d bytes lacked, %d written by the repair, same files %v, %.1f s (%.0f MB/s written)\nbefore: %v\nduring: %v\nload %s",
		res.Lacked, res.Written, res.Same, res.Seconds, mbps(res.Written, t2.Sub(t1)), res.Before, res.During, res.Load), res)
	if res.Lacked != res.Written || !res.Same || res.Before.Failed+res.During.Failed > 0 {
		return fmt.Errorf("the repair wrote %d bytes of %d lacked; %d gets failed", res.Written, res.Lacked, res.Before.Failed+res.During.Failed)
	}
	return nil
}

// readOn reads objects of 1 MiB from the first three nodes until ctx ends.
func (c *cluster) readOn(ctx context.Context, all *readings, worker, keys int) {
	h := web()
	defer h.CloseIdleConnections()
	for i := worker; ctx.Err() == nil; i += 7 {
		r := c.getBody(ctx, h, c.file.Nodes[i%3], fmt.Sprintf("r%d", i%keys), false)
		if ctx.Err() == nil {
			all.add(r)
		}
		sleep(ctx, 10*time.Millisecond)
	}
}

// gone waits until the demo has seen a node's end.
func (c *cluster) gone(ctx context.Context, name string) error {
	for range 200 {
		if n, err := c.node(name); err == nil && n.State != "running" {
			return nil
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the demo does not see the end of %s", name)
}

// repaired waits until a node that was started lacks nothing any more.
func (c *cluster) repaired(ctx context.Context, name string) error {
	if err := c.ready(ctx, name); err != nil {
		return err
	}
	for range 6000 {
		n, err := c.node(name)
		if err != nil {
			return err
		}
		missing, err := c.metric(ctx, n, "rain_store_missing_symbols")
		if err == nil && missing == 0 {
			return nil
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s still lacks symbols after two minutes", name)
}

// files lists the files below a folder with their sizes.
func files(root string) (sizes map[string]int64, sum int64, err error) {
	sizes = map[string]int64{}
	err = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		sizes[filepath.Base(p)], sum = i.Size(), sum+i.Size()
		return nil
	})
	return sizes, sum, err
}

func sameFiles(a, b map[string]int64) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}
