//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// gaps measures the longest gap of a client that opens a new connection every
// 5 ms and never retries, around each kind of fault of the VIP's holder.
func gaps(ctx context.Context, c *cluster, o options) error {
	n := o.n
	if n == 0 {
		n = 10
	}
	bad := 0
	for _, kind := range []struct {
		name string
		sig  syscall.Signal
	}{{"SIGKILL", syscall.SIGKILL}, {"SIGSTOP", syscall.SIGSTOP}, {"TERM", syscall.SIGTERM}} {
		if o.only != "" && o.only != kind.name {
			continue
		}
		var all []float64
		failed := 0
		for range n {
			w, err := oneGap(ctx, c, kind.sig)
			if err != nil {
				return fmt.Errorf("%s: %w", kind.name, err)
			}
			all = append(all, w.LongestGapMS)
			failed += w.Failed
			fmt.Printf("%-8s gap %6.1f ms, %d failed of %d, load %s\n", kind.name, w.LongestGapMS, w.Failed, w.OK+w.Failed, load())
			if kind.sig == syscall.SIGTERM && w.Failed > 0 {
				fmt.Printf("         gap since %s, the client itself was late by %.1f ms at most: %v\n", w.LongestAt.Format("15:04:05.000"), w.Late, w.Reasons)
			}
		}
		slices.Sort(all)
		fmt.Printf("%-8s preset %s, %d repeats: median %.1f ms, worst %.1f ms, failed in all %d\n",
			kind.name, o.preset, n, all[len(all)/2], all[len(all)-1], failed)
		if kind.sig == syscall.SIGTERM && failed > 0 || o.preset == "laptop" && all[len(all)/2] >= 250 {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d promises broken (TERM: 0 failed; laptop: median under 250 ms)", bad)
	}
	return nil
}

type watchResult struct {
	OK           int            `json:"ok"`
	Failed       int            `json:"failed"`
	LongestGapMS float64        `json:"longest_gap_ms"`
	LongestAt    time.Time      `json:"longest_gap_since"`
	Late         float64        `json:"late_ms"`
	Reasons      map[string]int `json:"reasons"`
}

func oneGap(ctx context.Context, c *cluster, sig syscall.Signal) (w watchResult, err error) {
	if err := c.whole(ctx); err != nil {
		return w, err
	}
	name, err := c.holder(ctx)
	if err != nil {
		return w, err
	}
	node, err := c.node(name)
	if err != nil {
		return w, err
	}
	watch := exec.CommandContext(ctx, c.o.ctl, "--json", "watch", "http://"+c.file.VIPs[0]+"/", "--every", "5ms", "--for", "3s")
	done := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = watch.Output()
		done <- err
	}()
	sleep(ctx, time.Second)
	if err := syscall.Kill(node.Pid, sig); err != nil {
		return w, err
	}
	err = <-done
	if len(out) == 0 {
		return w, fmt.Errorf("watch: %w", err)
	}
	if err := json.Unmarshal(out, &w); err != nil {
		return w, err
	}
	if sig == syscall.SIGSTOP {
		return w, syscall.Kill(node.Pid, syscall.SIGCONT)
	}
	for range 100 { // the demo must have seen its end
		if n, err := c.node(name); err == nil && n.State != "running" {
			break
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return w, c.control(name, "start")
}
