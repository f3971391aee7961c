//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type coldResult struct {
	Rounds  int       `json:"rounds"`
	Acked   int       `json:"acknowledged"`
	P50     float64   `json:"p50_s"` // from the last start to one view of all with every address held
	P99     float64   `json:"p99_s"`
	Worst   float64   `json:"worst_s"`
	Each    []float64 `json:"each_s"`
	Load    string    `json:"load"`
	Refused int       `json:"not_acknowledged"`
}

// cold kills all nodes at once, in the midst of puts, starts them again and looks
// for all that was ever acknowledged, n times.
func cold(ctx context.Context, c *cluster, o options) error {
	rounds := o.n
	if rounds == 0 {
		rounds = 100
	}
	if err := c.makeBucket(ctx); err != nil {
		return err
	}
	var acked []put
	res := coldResult{Rounds: rounds}
	end := time.Now().Add(o.span)
	for i := range rounds {
		if o.span > 0 && time.Now().After(end) {
			res.Rounds = i
			break
		}
		got, refused, err := c.putsUntilDeath(ctx, i)
		if err != nil {
			return err
		}
		acked = append(acked, got...)
		res.Refused += refused
		start := time.Now()
		for _, n := range c.file.Nodes {
			if err := c.start(ctx, n.Name); err != nil {
				return err
			}
		}
		if err := c.whole(ctx); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		res.Each = append(res.Each, time.Since(start).Seconds())
		if (i+1)%10 == 0 || i+1 == rounds {
			if err := verify(ctx, c, acked); err != nil {
				return fmt.Errorf("round %d: %w", i+1, err)
			}
		}
	}
	if err := verify(ctx, c, acked); err != nil {
		return err
	}
	sorted := slices.Sorted(slices.Values(res.Each))
	if n := len(sorted); n > 0 {
		res.P50, res.P99, res.Worst = sorted[n/2], sorted[n*99/100], sorted[n-1]
	}
	res.Acked, res.Load = len(acked), load()
	tell(o, fmt.Sprintf("cold: %d times all nodes killed at once: whole again after p50 %.2f s, p99 %.2f s, worst %.2f s; %d puts acknowledged, all there; load %s",
		res.Rounds, res.P50, res.P99, res.Worst, res.Acked, res.Load), res)
	return nil
}

// putsUntilDeath puts small objects, kills all nodes in the midst of it, and
// returns what was acknowledged.
func (c *cluster) putsUntilDeath(ctx context.Context, round int) (acked []put, refused int, err error) {
	var mu sync.Mutex
	var dead atomic.Bool
	var wg sync.WaitGroup
	for w, n := range c.file.Nodes {
		wg.Go(func() {
			h := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{}}
			defer h.CloseIdleConnections()
			for k := 0; !dead.Load() && ctx.Err() == nil; k++ {
				key := fmt.Sprintf("c%d-%d-%d", round, w, k)
				text := strings.Repeat(key+" ", 20)
				req, err := c.object(ctx, http.MethodPut, n.Admin, "/"+key, strings.NewReader(text), int64(len(text)))
				if err != nil {
					return
				}
				resp, err := h.Do(req)
				ok := err == nil && resp.StatusCode/100 == 2
				if err == nil {
					resp.Body.Close()
				}
				sum := sha256.Sum256([]byte(text))
				mu.Lock()
				if ok {
					acked = append(acked, put{key, hex.EncodeToString(sum[:])})
				} else {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	sleep(ctx, time.Duration(200+(round*37)%300)*time.Millisecond)
	if err := c.read(); err != nil {
		return nil, 0, err
	}
	var errs []error
	for _, n := range c.file.Nodes {
		errs = append(errs, syscall.Kill(n.Pid, syscall.SIGKILL))
	}
	dead.Store(true)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, 0, fmt.Errorf("killing all: %w", err)
	}
	return acked, refused, c.allDown(ctx)
}

// allDown waits until the demo knows that no node runs.
func (c *cluster) allDown(ctx context.Context) error {
	for range 300 {
		if err := c.read(); err == nil && !slices.ContainsFunc(c.file.Nodes, func(n demoNode) bool { return n.State == "running" }) {
			return nil
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	return errors.New("the demo still thinks that a node runs")
}
