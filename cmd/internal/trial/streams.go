//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

type streamsResult struct {
	Clients int     `json:"clients"`
	SizeMiB int64   `json:"size_mib"`
	MBps    float64 `json:"mb_s"`
	Idle    float64 `json:"rss_idle_mib"`
	RSS     float64 `json:"rss_worst_mib"`
	Anon    float64 `json:"anon_worst_mib"` // of that, without files: heap and stacks
	Others  float64 `json:"others_rss_worst_mib"`
	Failed  int     `json:"failed"`
	Load    string  `json:"load"`
}

// maxStreamMiB is what the node that serves may hold at most.
const maxStreamMiB = 256

// streams lets clients read large objects from one node, each at its own place
// in the body, and watches the node's memory.
func streams(ctx context.Context, c *cluster, o options) error {
	clients := o.n
	if clients == 0 {
		clients = 20
	}
	if err := c.makeBucket(ctx); err != nil {
		return err
	}
	h := web()
	defer h.CloseIdleConnections()
	const objects = 2
	mib := o.sizeOr(1024)
	size := mib << 20
	for i := range objects {
		if _, err := c.putBody(ctx, h, c.file.Nodes[0].Admin, fmt.Sprintf("m%d", i), uint64(i), size); err != nil {
			return err
		}
	}
	if err := c.whole(ctx); err != nil { // who was left out for a moment may be behind
		return err
	}
	node := c.file.Nodes[1]
	res := streamsResult{Clients: clients, SizeMiB: mib}
	res.Idle, _ = memory(node.Pid)
	var bytes, failed atomic.Int64
	readCtx, stop := context.WithTimeout(ctx, 40*time.Second)
	defer stop()
	var wg sync.WaitGroup
	start := time.Now()
	for i := range clients {
		wg.Go(func() {
			sleep(readCtx, time.Duration(i)*250*time.Millisecond) // so that each has its own place
			r := c.getBody(readCtx, h, node, fmt.Sprintf("m%d", i%objects), false)
			bytes.Add(r.size)
			if r.err != nil && readCtx.Err() == nil {
				failed.Add(1)
				fmt.Println(r.err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(50 * time.Millisecond):
		}
		rss, anon := memory(node.Pid)
		res.RSS, res.Anon = max(res.RSS, rss), max(res.Anon, anon)
		for _, n := range c.file.Nodes {
			if n.Name != node.Name {
				rss, _ := memory(n.Pid)
				res.Others = max(res.Others, rss)
			}
		}
	}
	res.MBps, res.Failed, res.Load = mbps(bytes.Load(), time.Since(start)), int(failed.Load()), load()
	tell(o, fmt.Sprintf("streams: %d clients, objects of %d MiB: %.0f MB/s, %d failed; the serving node held %.0f MiB at most (%.0f without files; %.0f before), the others %.0f; load %s",
		res.Clients, res.SizeMiB, res.MBps, res.Failed, res.RSS, res.Anon, res.Idle, res.Others, res.Load), res)
	if res.Failed > 0 || res.RSS > maxStreamMiB {
		return fmt.Errorf("%d clients failed; %.0f MiB were held, %d are the bound", res.Failed, res.RSS, maxStreamMiB)
	}
	return nil
}
