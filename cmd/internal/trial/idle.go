//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// idle measures what an idle cluster costs.
func idle(ctx context.Context, c *cluster, o options) error {
	sleep(ctx, 3*time.Second)
	before := map[int]float64{}
	for _, n := range c.file.Nodes {
		before[n.Pid] = cpuSeconds(n.Pid)
	}
	span := 10 * time.Second
	if o.n > 0 {
		span = time.Duration(o.n) * time.Second
	}
	start := time.Now()
	sleep(ctx, span)
	took := time.Since(start).Seconds()
	used := map[int]float64{} // before anybody is asked
	for _, n := range c.file.Nodes {
		used[n.Pid] = cpuSeconds(n.Pid) - before[n.Pid]
	}
	for _, n := range c.file.Nodes {
		st, err := c.status(ctx, n)
		if err != nil {
			return err
		}
		fmt.Printf("%s preset %s: %.2f %% of a core, RSS %d MiB, %.1f rotations/s, hop p50 %d us, p99 %d us; load %s\n",
			n.Name, o.preset, 100*used[n.Pid]/took, rssMiB(n.Pid), st.Ring.RotationsPS, st.Ring.HopP50US, st.Ring.HopP99US, load())
	}
	return nil
}

// cpuSeconds is user and system time of a process, in seconds.
func cpuSeconds(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100
}

func rssMiB(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(b))[1])
	return pages * os.Getpagesize() >> 20
}
