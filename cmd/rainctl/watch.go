package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"rain/cmd/internal/cli"
)

type watchCmd struct {
	URL    string        `arg:"" help:"What to ask."`
	Every  time.Duration `default:"5ms" help:"A new attempt, on a new connection, so often."`
	For    time.Duration `default:"30s" help:"How long to begin attempts."`
	Give   time.Duration `name:"give-up" default:"5s" help:"An attempt without a whole answer by then has failed."`
	Host   string        `help:"Host header, if not the URL's."`
	SHA256 string        `name:"sha256" placeholder:"HEX" help:"What the body must be; another body is a failure."`
}

const (
	watchers    = 1024 // attempts at once: 5 s of silence at one each 5 ms
	maxBody     = 64 << 20
	minInterval = 100 * time.Microsecond
)

// watchAnswer is the JSON of watch.
type watchAnswer struct {
	API       int       `json:"api"`
	URL       string    `json:"url"`
	OK        int       `json:"ok"`
	Failed    int       `json:"failed"`
	Skipped   int       `json:"skipped"` // not begun: too many were still waiting
	Longest   float64   `json:"longest_gap_ms"`
	LongestAt time.Time `json:"longest_gap_since"`
	Started   time.Time `json:"started"`
	// Late is how long this program itself stood still at the worst: gaps of that
	// length say nothing about the site.
	Late     float64        `json:"late_ms"`
	P50      float64        `json:"p50_ms"`
	P99      float64        `json:"p99_ms"`
	Slowest  float64        `json:"slowest_ms"`
	Reasons  map[string]int `json:"reasons"`
	Nodes    map[string]int `json:"nodes"`
	Failures []failed       `json:"failures"`
}

func (w *watchCmd) Run(a *app) error {
	t, err := newTarget(w.URL, w.Host, strings.ToLower(w.SHA256))
	if err != nil {
		return err
	}
	if w.Every < minInterval || w.For <= 0 || w.Give <= 0 {
		return usage("--every must be at least %v, --for and --give-up above 0", minInterval)
	}
	start := time.Now()
	res := t.watch(a.ctx, w.Every, w.For, w.Give)
	v := watchAnswer{
		API: cli.API, URL: w.URL, OK: res.ok, Failed: res.failed, Skipped: res.skipped,
		Longest: ms(res.longest), LongestAt: start.Add(res.longestFrom).UTC(), Started: start.UTC(), Late: ms(res.late),
		P50: ms(res.percentile(50)), P99: ms(res.percentile(99)), Slowest: ms(res.percentile(100)),
		Reasons: res.reasons, Nodes: res.nodes, Failures: res.failures,
	}
	if v.Reasons == nil {
		v.Reasons = map[string]int{}
	}
	if v.Nodes == nil {
		v.Nodes = map[string]int{}
	}
	if v.Failures == nil {
		v.Failures = []failed{}
	}
	if v.OK == 0 {
		a.code = int(cli.Unavailable)
	}
	return a.print(v, func(w io.Writer) { showWatch(w, v) })
}

func showWatch(w io.Writer, v watchAnswer) {
	fmt.Fprintf(w, "%d ok, %d failed, longest gap %.1f ms (from %s)\n", v.OK, v.Failed, v.Longest, v.LongestAt.Local().Format("15:04:05.000"))
	fmt.Fprintf(w, "answers took %.1f ms at the median, %.1f ms at the 99th percentile, %.1f ms at most\n", v.P50, v.P99, v.Slowest)
	if v.Skipped > 0 {
		fmt.Fprintf(w, "%d attempts were not begun, because %d were still waiting\n", v.Skipped, watchers)
	}
	for _, m := range []struct {
		what string
		of   map[string]int
	}{{"answers by", v.Nodes}, {"failed:", v.Reasons}} {
		for _, k := range slices.Sorted(maps.Keys(m.of)) {
			fmt.Fprintf(w, "  %s %s: %d\n", m.what, safe(k), m.of[k])
		}
	}
}

// target is what each attempt asks, prepared once.
type target struct {
	addr    string
	request []byte
	sha256  string
	tls     *tls.Config // nil: plain
}

func newTarget(raw, host, sum string) (*target, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usage("%q: want http://HOST[:PORT]/PATH", raw)
	}
	if host == "" {
		host = u.Host
	}
	if strings.ContainsAny(host, " \r\n\t") {
		return nil, usage("--host %q is no host name", host)
	}
	port := u.Port()
	t := &target{sha256: sum}
	if u.Scheme == "https" {
		t.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	if port == "" {
		port = u.Scheme // net knows both names
	}
	t.addr = net.JoinHostPort(u.Hostname(), port)
	t.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: rainctl-watch\r\nConnection: close\r\n\r\n", u.RequestURI(), host)
	return t, nil
}

// watch begins attempts for so long and waits for the last one. Each counts by
// the time of its start; none is repeated.
func (t *target) watch(ctx context.Context, every, length, give time.Duration) *tally {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		res   tally
		slots = make(chan struct{}, watchers)
		start = time.Now()
	)
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := start
	for time.Since(start) < length && ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
			wg.Go(func() {
				defer func() { <-slots }()
				from := time.Since(start)
				node, reason := t.attempt(ctx, give)
				mu.Lock()
				defer mu.Unlock()
				if reason == "" {
					res.success(from, time.Since(start), node)
				} else if ctx.Err() == nil {
					res.failure(from, reason)
				}
			})
		default:
			mu.Lock()
			res.skipped++
			mu.Unlock()
		}
		select {
		case <-ctx.Done(): // interrupted: what was seen counts
		case <-tick.C:
		}
		now := time.Now()
		res.late = max(res.late, now.Sub(last)-every)
		last = now
	}
	end := time.Since(start)
	wg.Wait()
	res.end(max(end, res.lastOK))
	return &res
}

// attempt asks once, on a connection of its own. reason is "" for a whole answer
// with a status below 400.
func (t *target) attempt(ctx context.Context, give time.Duration) (node, reason string) {
	ctx, cancel := context.WithTimeout(ctx, give)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return "", why("connect", err)
	}
	defer c.Close()
	until, _ := ctx.Deadline()
	if err := c.SetDeadline(until); err != nil {
		return "", why("connect", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // unblocks the reads
	defer stop()
	if t.tls != nil {
		c = tls.Client(c, t.tls)
	}
	if _, err := c.Write(t.request); err != nil {
		return "", why("send", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", why("answer", err)
	}
	node = res.Header.Get("X-Rain-Node")
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return node, why("body", err)
	case n > maxBody:
		return node, "body: too large"
	case res.StatusCode >= 400:
		return node, fmt.Sprintf("status %d", res.StatusCode)
	case t.sha256 != "" && hex.EncodeToString(h.Sum(nil)) != t.sha256:
		return node, "body: differs"
	}
	return node, ""
}

// why makes few words of an error, so that they can be counted.
func why(step string, err error) string {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return step + ": time-out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return step + ": refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return step + ": reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return step + ": unreachable"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return step + ": closed early"
	}
	return step + ": failed"
}
