//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const bucket = "trial"

// body is a reader of size random bytes; equal seeds give equal bytes.
func body(seed uint64, size int64) io.Reader {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	return io.LimitReader(rand.NewChaCha8(key), size)
}

// web is a client that keeps its connections and never retries.
func web() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ReadBufferSize: 256 << 10, WriteBufferSize: 256 << 10}}
}

func (c *cluster) object(ctx context.Context, method, base, key string, r io.Reader, size int64) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, base+"/api/v1/objects/"+bucket+key, r)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Authorization", "Bearer "+c.file.Token)
	return req, nil
}

// putBody stores size random bytes and returns their SHA-256.
func (c *cluster) putBody(ctx context.Context, h *http.Client, base, key string, seed uint64, size int64) (sum string, err error) {
	hash := sha256.New()
	req, err := c.object(ctx, http.MethodPut, base, "/"+key, io.TeeReader(body(seed, size), hash), size)
	if err != nil {
		return "", err
	}
	resp, err := h.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return "", err
	}
	if resp.StatusCode/100 != 2 {
		return "", fmt.Errorf("put %s: %s %s", key, resp.Status, text)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// reading is how one get went.
type reading struct {
	at   time.Time // when it began
	took time.Duration
	size int64
	sum  string // if asked for
	node string
	err  error
}

// getBody reads an object; with hash it says what came.
func (c *cluster) getBody(ctx context.Context, h *http.Client, n demoNode, key string, hash bool) (r reading) {
	r.at, r.node = time.Now(), n.Name
	defer func() { r.took = time.Since(r.at) }()
	req, err := c.object(ctx, http.MethodGet, n.Admin, "/"+key, nil, 0)
	if err != nil {
		r.err = err
		return r
	}
	resp, err := h.Do(req)
	if err != nil {
		r.err = err
		return r
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // only to say more
		r.err = fmt.Errorf("%s: get %s: %s %s", n.Name, key, resp.Status, text)
		return r
	}
	w := io.Writer(io.Discard)
	sum := sha256.New()
	if hash {
		w = sum
	}
	r.size, r.err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{resp.Body}, make([]byte, 256<<10))
	if r.err == nil && r.size != resp.ContentLength {
		r.err = fmt.Errorf("%s: get %s: %d of %d bytes came", n.Name, key, r.size, resp.ContentLength)
	}
	r.sum = hex.EncodeToString(sum.Sum(nil))
	return r
}

// makeBucket makes the trial's bucket and waits until all nodes know it.
func (c *cluster) makeBucket(ctx context.Context) error {
	req, err := c.object(ctx, http.MethodPut, c.file.Nodes[0].Admin, "", nil, 0)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("make bucket: %s", resp.Status)
	}
	return nil
}

// readings are many gets.
type readings struct {
	mu  sync.Mutex
	all []reading
}

func (r *readings) add(x reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
}

// between summarises the gets that began in a span of time.
func (r *readings) between(from, to time.Time) summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s summary
	var took []float64
	var bytes int64
	for _, x := range r.all {
		if x.at.Before(from) || !x.at.Before(to) {
			continue
		}
		if s.Gets++; x.err != nil {
			s.Failed++
			if len(s.Errors) < 5 {
				s.Errors = append(s.Errors, fmt.Sprintf("%.2f s: %v", x.at.Sub(from).Seconds(), x.err))
			}
			continue
		}
		bytes += x.size
		took = append(took, float64(x.took.Microseconds())/1000)
	}
	slices.Sort(took)
	if len(took) > 0 {
		s.P50, s.P99, s.Worst = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	}
	s.MBps = float64(bytes) / 1e6 / to.Sub(from).Seconds()
	return s
}

type summary struct {
	Gets   int      `json:"gets"`
	Failed int      `json:"failed"`
	P50    float64  `json:"p50_ms"`
	P99    float64  `json:"p99_ms"`
	Worst  float64  `json:"worst_ms"`
	MBps   float64  `json:"mb_s"`
	Errors []string `json:"errors,omitempty"`
}

func (s summary) String() string {
	text := fmt.Sprintf("%d gets, %d failed, p50 %.1f ms, p99 %.1f ms, worst %.1f ms, %.0f MB/s", s.Gets, s.Failed, s.P50, s.P99, s.Worst, s.MBps)
	if len(s.Errors) > 0 {
		text += "\n  " + strings.Join(s.Errors, "\n  ")
	}
	return text
}

// tell prints a result as text, and with -json as a line for programs.
func tell(o options, text string, v any) {
	if !o.json {
		fmt.Println(text)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own plain struct
	}
	fmt.Println(string(b))
}

// metric is the sum of a metric's values on a node.
func (c *cluster) metric(ctx context.Context, n demoNode, name string) (sum float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.file.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	found := false
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndex(rest, " "):]), 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("%s has no metric %s", n.Name, name)
	}
	return sum, nil
}

// memory is what a process holds now, in MiB: resident in all, and of that the
// heap and the like (no files).
func memory(pid int) (rss, anon float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0 // it is down
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			rss = kb / 1024
		case "RssAnon:":
			anon = kb / 1024
		}
	}
	return rss, anon
}

// ready waits until a node says that it serves.
func (c *cluster) ready(ctx context.Context, name string) error {
	for range 300 {
		if n, err := c.node(name); err == nil {
			resp, err := http.Get(n.Admin + "/readyz")
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s is not ready within 30 s", name)
}
