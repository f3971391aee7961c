//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing/fstest"
	"time"
)

// queueHost is the site of this trial.
const queueHost = "queue.trial"

// requests measures what the request queue on the token costs: first with many
// slow downloads at once, what rides on the token and how fast it goes round;
// then on one node, what short requests lose by it.
func requests(ctx context.Context, c *cluster, o options) error {
	n := o.n
	if n == 0 {
		n = 1000
	}
	cl := c.any()
	body := make([]byte, 16<<20)
	for i := range body {
		body[i] = byte(i * 7)
	}
	_, err := cl.PublishSite(ctx, queueHost, fstest.MapFS{"big.bin": {Data: body}, "index.html": {Data: []byte("trial")}}, false)
	cl.Close()
	if err != nil {
		return err
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	slow := slowDownloads(ctx, c, n)
	c.stop()
	return errors.Join(slow, shortRequests(ctx, o))
}

// sample is what the nodes' metrics say at one moment.
type sample struct {
	at                    time.Time
	tokenBytes, rotations float64
	cpu                   float64
	rss                   int
}

func (c *cluster) sample() (s sample, err error) {
	s.at = time.Now()
	for _, n := range c.file.Nodes {
		m, err := metrics(n.Admin)
		if err != nil {
			return s, err
		}
		s.tokenBytes += m["rain_ring_token_bytes_total"]
		s.rotations += m["rain_ring_rotations_total"]
		s.cpu += cpuSeconds(n.Pid)
		s.rss = max(s.rss, rssMiB(n.Pid))
	}
	return s, nil
}

func metrics(admin string) (map[string]float64, error) {
	resp, err := http.Get(admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = v
		}
	}
	return out, nil
}

// span prints what happened between two samples, each figure for the cluster.
func span(what string, nodes int, a, b sample) {
	t := b.at.Sub(a.at).Seconds()
	passes := b.rotations - a.rotations // each is one hop
	fmt.Printf("%-22s token %6.0f bytes, %8.0f bytes/s on all hops; rotation %5.1f ms; CPU of all nodes %.0f %%; RSS of the largest %d MiB; load %s\n",
		what, (b.tokenBytes-a.tokenBytes)/passes, (b.tokenBytes-a.tokenBytes)/t, 1000*t*float64(nodes)/passes, 100*(b.cpu-a.cpu)/t, b.rss, load())
}

// slowDownloads has n clients that take 16 KiB a second each, then kills a node.
func slowDownloads(ctx context.Context, c *cluster, n int) error {
	during := func(what string, d time.Duration) error {
		a, err := c.sample()
		if err != nil {
			return err
		}
		sleep(ctx, d)
		b, err := c.sample()
		if err == nil {
			span(what, len(c.file.Nodes), a, b)
		}
		return err
	}
	if err := during("idle", 5*time.Second); err != nil {
		return err
	}
	slow, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var failed atomic.Int64
	var first atomic.Pointer[error]
	for i := range n {
		wg.Go(func() {
			for slow.Err() == nil { // who is cut off asks again, as browsers do
				if err := slowClient(slow, c.file.VIPs[i%len(c.file.VIPs)], i); err != nil && slow.Err() == nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
				sleep(slow, 500*time.Millisecond)
			}
		})
	}
	begun := time.Now()
	for {
		st, err := c.status(ctx, c.file.Nodes[0])
		if err == nil && st.Queue.Length >= n {
			break
		}
		if time.Since(begun) > 60*time.Second {
			if e := first.Load(); e != nil {
				err = errors.Join(err, *e)
			}
			return fmt.Errorf("after 60 s %d of %d downloads are on the queue, %d failed (%w)", st.Queue.Length, n, failed.Load(), err)
		}
		sleep(ctx, 100*time.Millisecond)
	}
	fmt.Printf("%d downloads on the queue of all nodes %.1f s after their beginning\n", n, time.Since(begun).Seconds())
	if err := during(strconv.Itoa(n)+" slow downloads", 10*time.Second); err != nil {
		return err
	}
	return killHolder(ctx, c)
}

// killHolder kills the first VIP's holder: each of its entries must be claimed
// once, and settled as orphaned.
func killHolder(ctx context.Context, c *cluster) error {
	name, err := c.holder(ctx)
	if err != nil {
		return err
	}
	node, err := c.node(name)
	if err != nil {
		return err
	}
	var rest demoNode
	for _, n := range c.file.Nodes {
		if n.Name != name {
			rest = n
		}
	}
	before, err := c.status(ctx, rest)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := syscall.Kill(node.Pid, syscall.SIGKILL); err != nil {
		return err
	}
	for {
		st, err := c.status(ctx, rest)
		claimed, orphaned := st.Queue.Claimed-before.Queue.Claimed, st.Queue.Orphaned-before.Queue.Orphaned
		if err == nil && claimed > 0 && claimed == orphaned {
			fmt.Printf("%s killed: %d of its requests claimed and %d settled as orphaned %.0f ms later; on the queue before %d, after %d\n",
				name, claimed, orphaned, time.Since(at).Seconds()*1000, before.Queue.Length, st.Queue.Length)
			return nil
		}
		if time.Since(at) > 20*time.Second {
			return fmt.Errorf("20 s after the death of %s: %d claimed, %d orphaned (%v)", name, claimed, orphaned, err)
		}
		sleep(ctx, 10*time.Millisecond)
	}
}

// slowClient takes 16 KiB a second, with little room in its own kernel.
func slowClient(ctx context.Context, addr string, i int) error {
	d := net.Dialer{Timeout: 20 * time.Second, Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		return errors.Join(rc.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10)
		}), err)
	}}
	sleep(ctx, time.Duration(i)*2*time.Millisecond)
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := fmt.Fprintf(conn, "GET /big.bin?%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: trial\r\n\r\n", i, queueHost); err != nil {
		return err
	}
	buf := make([]byte, 16<<10)
	for {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return err
		}
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
}
