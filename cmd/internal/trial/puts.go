//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rain/cmd/internal/client"
)

// put is one acknowledged put.
type put struct {
	key, sum string
}

// puts stores many small objects while nodes are killed and started at random.
// Every acknowledged one must be there on every node, each key with one value.
func puts(ctx context.Context, c *cluster, o options) error {
	n := o.n
	if n == 0 {
		n = 10000
	}
	cl := c.any()
	defer cl.Close()
	if _, err := cl.CreateBucket(ctx, "trial"); err != nil {
		return err
	}
	var next, failed atomic.Int64
	var enough atomic.Bool // kills; the puts go on until then
	var mu sync.Mutex
	var acked []put
	workCtx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	start := time.Now()
	for w := range 16 {
		wg.Go(func() {
			cl := c.any()
			defer cl.Close()
			for workCtx.Err() == nil {
				i := next.Add(1)
				if i > int64(n) && enough.Load() {
					return
				}
				key := fmt.Sprintf("k%06d", i)
				body := fmt.Sprintf("value of %s by worker %d", key, w)
				cctx, cancel := context.WithTimeout(ctx, 20*time.Second)
				_, err := cl.Put(cctx, "trial", key, strings.NewReader(body), int64(len(body)), client.PutOptions{})
				cancel()
				if err != nil {
					failed.Add(1)
					continue
				}
				sum := sha256.Sum256([]byte(body))
				mu.Lock()
				acked = append(acked, put{key, hex.EncodeToString(sum[:])})
				mu.Unlock()
			}
		})
	}
	kills, err := killAtRandom(ctx, c, o)
	enough.Store(true)
	if err != nil {
		stop()
	}
	wg.Wait()
	if err != nil {
		return err
	}
	took := time.Since(start)
	if err := c.whole(ctx); err != nil {
		return err
	}
	fmt.Printf("puts: %d asked, %d acknowledged, %d not (outcome unknown or refused), %d kills, %.0f s; load %s\n",
		len(acked)+int(failed.Load()), len(acked), failed.Load(), kills, took.Seconds(), load())
	return verify(ctx, c, acked)
}

// killAtRandom kills and starts nodes until the puts are finished and enough
// kills have happened; at most one node is down at a time, which the quorum of
// four allows.
func killAtRandom(ctx context.Context, c *cluster, o options) (int, error) {
	rng := rand.New(rand.NewPCG(o.seed, 2))
	kills := 0
	for kills < o.kills {
		name := c.file.Nodes[rng.IntN(len(c.file.Nodes))].Name
		if err := c.control(name, "crash"); err != nil {
			return kills, err
		}
		kills++
		sleep(ctx, time.Duration(100+rng.IntN(900))*time.Millisecond)
		if err := c.control(name, "start"); err != nil {
			return kills, err
		}
		if !sleep(ctx, time.Duration(300+rng.IntN(1500))*time.Millisecond) {
			return kills, ctx.Err()
		}
	}
	return kills, nil
}

// verify compares each node's list with what was acknowledged and with the
// other nodes' lists.
func verify(ctx context.Context, c *cluster, acked []put) error {
	want := map[string]string{}
	for _, p := range acked {
		want[p.key] = p.sum
	}
	var first map[string]string
	var errs []error
	for _, n := range c.file.Nodes {
		cl := client.New([]string{n.Admin}, c.file.Token)
		got := map[string]string{}
		for after := ""; ; {
			page, err := cl.List(ctx, "trial", "", after, 1000)
			if err != nil {
				cl.Close()
				return err
			}
			for _, o := range page.Objects {
				if old, twice := got[o.Key]; twice && old != o.SHA256 {
					errs = append(errs, fmt.Errorf("%s: %s has two values", n.Name, o.Key))
				}
				got[o.Key] = o.SHA256
			}
			if after = page.Next; after == "" {
				break
			}
		}
		cl.Close()
		missing := 0
		for k, sum := range want {
			if got[k] != sum {
				missing++
			}
		}
		differ := 0
		if first == nil {
			first = got
		}
		for k, sum := range first {
			if got[k] != sum {
				differ++
			}
		}
		fmt.Printf("%s: %d keys, %d acknowledged ones missing, %d differ from %s\n", n.Name, len(got), missing, differ, c.file.Nodes[0].Name)
		if missing > 0 || differ > 0 || len(got) != len(first) {
			errs = append(errs, fmt.Errorf("%s lost or differs", n.Name))
		}
	}
	return errors.Join(errs...)
}
