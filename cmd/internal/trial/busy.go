//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"rain/ring/host"
)

// busy measures the ring while the same processes, and with them the machine,
// have all hands full: wrk on the addresses, then large puts.
func busy(ctx context.Context, c *cluster, o options) error {
	span := 20 * time.Second
	if o.n > 0 {
		span = time.Duration(o.n) * time.Second
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	if err := c.makeBucket(ctx); err != nil {
		return err
	}
	if o.detection != "" {
		if out, err := exec.CommandContext(ctx, o.ctl, "--cluster", filepath.Join(c.dir, "demo.json"), "set", "detection", o.detection).CombinedOutput(); err != nil {
			return fmt.Errorf("rainctl set detection: %w: %s", err, out)
		}
	}
	sleep(ctx, 2*time.Second)
	for _, l := range []struct {
		name string
		run  func(context.Context, time.Duration) (string, error)
	}{
		{"quiet", func(ctx context.Context, _ time.Duration) (string, error) { sleep(ctx, 3*time.Second); return "", nil }},
		{"wrk", c.wrk},
		{"puts", c.largePuts},
		{"put", c.oneLargePut},
	} {
		if o.only != "" && l.name != o.only && l.name != "quiet" {
			continue
		}
		before, err := c.ringSample(ctx)
		if err != nil {
			return err
		}
		what, err := l.run(ctx, span)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		after, err := c.ringSample(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%-6s %-5s %s; %s; load %s\n", o.preset, l.name, after.minus(before), what, load())
		if err := c.whole(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wrk asks both addresses for the same small page.
func (c *cluster) wrk(ctx context.Context, span time.Duration) (string, error) {
	var wg sync.WaitGroup
	outs := make([]string, len(c.file.VIPs))
	errs := make([]error, len(c.file.VIPs))
	for i, vip := range c.file.VIPs {
		wg.Go(func() {
			out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c32", fmt.Sprintf("-d%ds", int(span.Seconds())), "http://"+vip+"/").CombinedOutput()
			outs[i], errs[i] = string(out), err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	text := strings.Join(outs, "\n")
	failed := sumOf(text, `Non-2xx or 3xx responses: (\d+)`) + sumOf(text, `connect (\d+)`) + sumOf(text, `read (\d+)`) + sumOf(text, `write (\d+)`) + sumOf(text, `timeout (\d+)`)
	return fmt.Sprintf("%.0f req/s, %.0f of %.0f failed", sumOf(text, `Requests/sec: +([\d.]+)`), failed, sumOf(text, `(\d+) requests in`)), nil
}

// sumOf adds up what the pattern's group finds.
func sumOf(text, pattern string) (sum float64) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err == nil { // else it is no number, and counts nothing
			sum += v
		}
	}
	return sum
}

// largePuts has eight clients put 64 MiB again and again; no retries.
func (c *cluster) largePuts(ctx context.Context, span time.Duration) (string, error) {
	const size = 64 << 20
	end := time.Now().Add(span)
	start := time.Now()
	var mu sync.Mutex
	var done, failed int
	var first error
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			h := web()
			defer h.CloseIdleConnections()
			for i := 0; time.Now().Before(end) && ctx.Err() == nil; i++ {
				err := c.putZeros(ctx, h, c.file.Nodes[(w+i)%len(c.file.Nodes)].Admin, fmt.Sprintf("busy%d", w), size)
				mu.Lock()
				if err == nil {
					done++
				} else if failed++; first == nil {
					first = err
				}
				mu.Unlock()
				if err != nil {
					sleep(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	text := fmt.Sprintf("%.0f MB/s, %d of %d failed", mbps(int64(done)*size, time.Since(start)), failed, done+failed)
	if first != nil {
		text += fmt.Sprintf(" (first: %v)", first)
	}
	return text, nil
}

// oneLargePut puts one object as fast as the cluster takes it.
func (c *cluster) oneLargePut(ctx context.Context, _ time.Duration) (string, error) {
	size := c.o.sizeOr(150) << 20
	h := web()
	defer h.CloseIdleConnections()
	start := time.Now()
	if err := c.putZeros(ctx, h, c.file.Nodes[0].Admin, "busy", size); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.0f MB/s", mbps(size, time.Since(start))), nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// putZeros puts an object that costs its maker nothing: the load is the nodes'.
func (c *cluster) putZeros(ctx context.Context, h *http.Client, base, key string, size int64) error {
	req, err := c.object(ctx, http.MethodPut, base, "/"+key, io.LimitReader(zeros{}, size), size)
	if err != nil {
		return err
	}
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %.200s", resp.Status, text)
	}
	return err
}

// ringSample is what the nodes' meters say, added up.
type ringSample struct {
	view, made, lost, lapsed float64
	rotations                []float64 // by bucket, not cumulative
	cpu                      float64
}

func (c *cluster) ringSample(ctx context.Context) (s ringSample, err error) {
	s.rotations = make([]float64, len(host.RotationBounds)+1)
	for _, n := range c.file.Nodes {
		text, err := c.metrics(ctx, n)
		if err != nil {
			return s, err
		}
		s.view = max(s.view, sumOf(text, `(?m)^rain_ring_view (\S+)`))
		s.made += sumOf(text, `(?m)^rain_ring_regenerations_total (\S+)`)
		s.lost += sumOf(text, `(?m)^rain_ring_lease_lost_total (\S+)`)
		s.lapsed += sumOf(text, `(?m)^rain_ring_lease_lapsed_total (\S+)`)
		s.cpu += cpuSeconds(n.Pid)
		last := 0.0
		for i, m := range regexp.MustCompile(`(?m)^rain_ring_rotation_seconds_bucket\S* (\S+)`).FindAllStringSubmatch(text, len(s.rotations)) {
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				return s, fmt.Errorf("%s: %w", n.Name, err)
			}
			s.rotations[i] += v - last
			last = v
		}
	}
	return s, nil
}

func (c *cluster) metrics(ctx context.Context, n demoNode) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Admin+"/metrics", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+c.file.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (s ringSample) minus(t ringSample) ringSample {
	out := ringSample{view: s.view - t.view, made: s.made - t.made, lost: s.lost - t.lost, lapsed: s.lapsed - t.lapsed, cpu: s.cpu - t.cpu}
	for i := range s.rotations {
		out.rotations = append(out.rotations, s.rotations[i]-t.rotations[i])
	}
	return out
}

func (s ringSample) String() string {
	return fmt.Sprintf("views %.0f, tokens made %.0f, leases lapsed %.0f, isolated %.0f, rotation p50 <= %s p99 <= %s p99.9 <= %s worst <= %s, cpu %.1f s",
		s.view, s.made, s.lapsed, s.lost, s.quantile(0.5), s.quantile(0.99), s.quantile(0.999), s.quantile(1), s.cpu)
}

// quantile is the bound of the class in which a share of the rotations ends.
func (s ringSample) quantile(q float64) string {
	total, sum := 0.0, 0.0
	for _, v := range s.rotations {
		total += v
	}
	for i, v := range s.rotations {
		if sum += v; sum >= q*total && i < len(host.RotationBounds) {
			return host.RotationBounds[i].String()
		}
	}
	return "more"
}
