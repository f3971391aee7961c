//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing/fstest"
	"time"

	"rain/cmd/internal/client"
)

// oneNode is a cluster of one node, in a process of its own.
type oneNode struct {
	dir, http, admin, token string
	cmd                     *exec.Cmd
}

// shortRequests asks two nodes for 1 KiB over and over, in turns: one with the
// queue and one without, otherwise equal.
func shortRequests(ctx context.Context, o options) error {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		return errors.New("short requests are measured with wrk, which is not installed")
	}
	var nodes []*oneNode
	defer func() {
		for _, n := range nodes {
			n.stop()
		}
	}()
	for i, queue := range []bool{true, false} {
		n, err := startOne(ctx, o, o.port+10+10*i, queue)
		if n != nil {
			nodes = append(nodes, n)
		}
		if err != nil {
			return err
		}
	}
	const rounds = 16
	var rate, p99, cpu [2][]float64
	for round := range rounds + 1 {
		for k := range nodes {
			k = (k + round) % len(nodes) // who is first changes
			used := cpuSeconds(nodes[k].cmd.Process.Pid)
			r, p, err := ask1k(ctx, wrk, nodes[k].http)
			if err != nil {
				return err
			}
			used = cpuSeconds(nodes[k].cmd.Process.Pid) - used
			if round == 0 {
				continue // warms up
			}
			rate[k], p99[k] = append(rate[k], r), append(p99[k], p)
			cpu[k] = append(cpu[k], 1e6*used/(r*wrkSeconds))
		}
	}
	for k, name := range []string{"with the queue", "without"} {
		fmt.Printf("1 KiB GETs, %-14s  %6.0f/s median of %d (%6.0f to %6.0f); p99 %.2f ms median; CPU of the node %.2f us each, median\n",
			name, median(rate[k]), rounds, slices.Min(rate[k]), slices.Max(rate[k]), median(p99[k]), median(cpu[k]))
	}
	// Pairs of one round ran one after the other: noise of the machine cancels.
	// CPU is what counts on a machine where others work, too.
	rates, costs := make([]float64, rounds), make([]float64, rounds)
	for i := range rates {
		rates[i] = 100 * (rate[0][i]/rate[1][i] - 1)
		costs[i] = 100 * (cpu[0][i]/cpu[1][i] - 1)
	}
	fmt.Printf("with the queue against without, pair by pair: rate %+.1f %% median (%+.1f to %+.1f), CPU of a request %+.1f %% median (%+.1f to %+.1f); load %s\n",
		median(rates), slices.Min(rates), slices.Max(rates), median(costs), slices.Min(costs), slices.Max(costs), load())
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkP99  = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)`)
	wrkBad  = regexp.MustCompile(`Non-2xx|Socket errors`)
)

// wrkSeconds is how long wrk runs at once.
const wrkSeconds = 2

// ask1k runs wrk and returns requests a second and p99 in ms.
func ask1k(ctx context.Context, wrk, url string) (rate, p99 float64, err error) {
	out, err := exec.CommandContext(ctx, wrk, "-t1", "-c32", "-d"+strconv.Itoa(wrkSeconds)+"s", "--latency", "-H", "Host: "+queueHost, url+"/1k.bin").Output()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w", err)
	}
	r, p := wrkRate.FindSubmatch(out), wrkP99.FindSubmatch(out)
	if r == nil || p == nil || wrkBad.Match(out) {
		return 0, 0, fmt.Errorf("wrk: %s", out)
	}
	rate, err = strconv.ParseFloat(string(r[1]), 64)
	p99, err2 := strconv.ParseFloat(string(p[1]), 64)
	switch string(p[2]) {
	case "us":
		p99 /= 1000
	case "s":
		p99 *= 1000
	}
	return rate, p99, errors.Join(err, err2)
}

// startOne starts a node and publishes a file of 1 KiB on it.
func startOne(ctx context.Context, o options, port int, queue bool) (*oneNode, error) {
	dir, err := os.MkdirTemp("", "rain-trial-one-")
	if err != nil {
		return nil, err
	}
	n := &oneNode{dir: dir, http: fmt.Sprintf("http://127.0.0.1:%d", port), admin: fmt.Sprintf("http://127.0.0.1:%d", port+1), token: rand.Text()}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	config := fmt.Sprintf(`[node]
name = "one"
id = "0.1.0.1"
data = "data"
[cluster]
name = "trial"
key_file = "cluster.key"
preset = %q
founders = ["0.1.0.1"]
[[link]]
name = "a"
listen = "127.0.0.1:%d"
[[peer]]
id = "0.1.0.1"
name = "one"
links = ["127.0.0.1:%d"]
[web]
listen = ["127.0.0.1:%d"]
queue = %v
[admin]
listen = "127.0.0.1:%d"
token_file = "admin.token"
[store]
reserve_bytes = 67108864
[log]
level = "warn"
`, o.preset, port+2, port+2, port, queue, port+1)
	for name, text := range map[string]string{"node.toml": config, "cluster.key": base64.StdEncoding.EncodeToString(key), "admin.token": n.token} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return n, err
		}
	}
	n.cmd = exec.Command(o.exe, "run", "--config", filepath.Join(dir, "node.toml"))
	n.cmd.Stderr = os.Stderr
	if err := n.cmd.Start(); err != nil {
		return n, err
	}
	return n, n.publish(ctx)
}

func (n *oneNode) publish(ctx context.Context) error {
	cl := client.New([]string{n.admin}, n.token)
	defer cl.Close()
	var err error
	for range 200 {
		var resp *http.Response
		if resp, err = http.Get(n.admin + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				_, err = cl.PublishSite(ctx, queueHost, fstest.MapFS{"1k.bin": {Data: bytes.Repeat([]byte("x"), 1024)}}, true)
				return err
			}
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the node at %s is not ready within 20 s: %w", n.admin, err)
}

func (n *oneNode) stop() {
	if n.cmd != nil && n.cmd.Process != nil {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		_ = n.cmd.Wait()
	}
	_ = os.RemoveAll(n.dir)
}
