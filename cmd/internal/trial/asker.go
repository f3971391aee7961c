//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// asker sends so many requests a second to addresses in turn, each on a
// connection of its own, and never retries.
type asker struct {
	addrs []string
	rate  int

	mu     sync.Mutex
	ok     int
	failed []string
	worst  time.Duration
	last   map[string]time.Time // answer of each address
	gap    time.Duration        // longest between two answers of one address
	late   int                  // requests that could not leave in time: this machine's fault
	began  time.Time
}

// askers are enough for requests that take a while.
const askers = 64

// run asks until ctx ends.
func (a *asker) run(ctx context.Context) {
	a.last, a.began = map[string]time.Time{}, time.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	every := time.Second * askers / time.Duration(a.rate)
	for w := range askers {
		wg.Go(func() {
			next := a.began.Add(every * time.Duration(w) / askers)
			for k := w; ; k++ {
				d := time.Until(next)
				if d < -every {
					a.mu.Lock()
					a.late++
					a.mu.Unlock()
					next = time.Now()
				}
				if !sleep(ctx, max(d, 0)) {
					return
				}
				a.one(a.addrs[k%len(a.addrs)])
				next = next.Add(every)
			}
		})
	}
}

func (a *asker) one(addr string) {
	at := time.Now()
	err := get(addr)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.worst = max(a.worst, now.Sub(at))
	if err != nil {
		a.failed = append(a.failed, fmt.Sprintf("%.3f s: %s: %v", at.Sub(a.began).Seconds(), addr, err))
		return
	}
	a.ok++
	if before, seen := a.last[addr]; seen {
		a.gap = max(a.gap, now.Sub(before))
	}
	a.last[addr] = now
}

// get asks for the site's first page over a new connection.
func get(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		line, _, _ := strings.Cut(string(b), "\r\n")
		return fmt.Errorf("answer %q", line)
	}
	return nil
}

type askResult struct {
	OK      int      `json:"ok"`
	Failed  int      `json:"failed"`
	PerS    float64  `json:"per_s"`
	WorstMS float64  `json:"worst_ms"`
	GapMS   float64  `json:"longest_gap_ms"`
	Late    int      `json:"late"`
	Errors  []string `json:"errors,omitempty"`
}

func (a *asker) result() askResult {
	a.mu.Lock()
	defer a.mu.Unlock()
	return askResult{
		OK: a.ok, Failed: len(a.failed), PerS: float64(a.ok+len(a.failed)) / time.Since(a.began).Seconds(),
		WorstMS: ms(a.worst), GapMS: ms(a.gap), Late: a.late, Errors: a.failed[:min(len(a.failed), 10)],
	}
}

func (r askResult) String() string {
	s := fmt.Sprintf("%d requests answered, %d failed, %.0f/s, worst %.0f ms, longest gap of an address %.0f ms", r.OK, r.Failed, r.PerS, r.WorstMS, r.GapMS)
	if r.Late > 0 {
		s += fmt.Sprintf(" (%d times this machine could not keep the pace)", r.Late)
	}
	for _, e := range r.Errors {
		s += "\n  " + e
	}
	return s
}

// asked runs f under load and tells how that went; a failed request is an error.
func asked(ctx context.Context, o options, what string, addrs []string, f func() error) error {
	rate := o.rate
	a := &asker{addrs: addrs, rate: rate}
	askCtx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); a.run(askCtx) }()
	sleep(ctx, time.Second)
	err := f()
	sleep(ctx, time.Second)
	stop()
	<-done
	r := a.result()
	tell(o, fmt.Sprintf("%s: %v; load %s", what, r, load()), struct {
		What string `json:"trial"`
		askResult
		Load string `json:"load"`
	}{what, r, load()})
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%s: %d requests failed", what, r.Failed)
	}
	return err
}
