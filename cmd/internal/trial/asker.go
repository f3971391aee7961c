//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
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
	slow   []string // answered, but after slowRequest
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
	g, err := get(addr)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.worst = max(a.worst, now.Sub(at))
	if err != nil {
		a.failed = append(a.failed, fmt.Sprintf("%.3f s: %s: %v (%s)", at.Sub(a.began).Seconds(), addr, err, g))
		return
	}
	if took := now.Sub(at); took >= slowRequest && len(a.slow) < 10 {
		a.slow = append(a.slow, fmt.Sprintf("%.3f s: %s: slow: %s", at.Sub(a.began).Seconds(), addr, g))
	}
	a.ok++
	if before, seen := a.last[addr]; seen {
		a.gap = max(a.gap, now.Sub(before))
	}
	a.last[addr] = now
}

// slowRequest is what no planned hand-over may cost: a SYN's second try comes
// after a second.
const slowRequest = 900 * time.Millisecond

// phases tell where a request's time went: a dropped SYN is in the first.
type phases struct {
	from            net.Addr
	connected, took time.Duration
}

func (p phases) String() string {
	if p.from == nil {
		return fmt.Sprintf("not connected after %.0f ms", ms(p.took))
	}
	return fmt.Sprintf("from %s, connected after %.0f ms, ended after %.0f ms", p.from, ms(p.connected), ms(p.took))
}

// get asks for the site's first page over a new connection.
func get(addr string) (p phases, err error) {
	at := time.Now()
	defer func() { p.took = time.Since(at) }()
	conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return p, err
	}
	defer conn.Close()
	p.from, p.connected = conn.LocalAddr(), time.Since(at)
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return p, err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\n\r\n"); err != nil {
		return p, err
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		return p, err
	}
	if !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		line, _, _ := strings.Cut(string(b), "\r\n")
		return p, fmt.Errorf("answer %q", line)
	}
	return p, nil
}

// answers reports whether a get goes well.
func answers(addr string) bool {
	_, err := get(addr)
	return err == nil
}

type askResult struct {
	OK      int      `json:"ok"`
	Failed  int      `json:"failed"`
	PerS    float64  `json:"per_s"`
	WorstMS float64  `json:"worst_ms"`
	GapMS   float64  `json:"longest_gap_ms"`
	Late    int      `json:"late"`
	Errors  []string `json:"errors,omitempty"`
	Slow    []string `json:"slow,omitempty"`
}

func (a *asker) result() askResult {
	a.mu.Lock()
	defer a.mu.Unlock()
	return askResult{
		OK: a.ok, Failed: len(a.failed), PerS: float64(a.ok+len(a.failed)) / time.Since(a.began).Seconds(),
		WorstMS: ms(a.worst), GapMS: ms(a.gap), Late: a.late, Errors: a.failed[:min(len(a.failed), 10)], Slow: a.slow,
	}
}

func (r askResult) String() string {
	s := fmt.Sprintf("%d requests answered, %d failed, %.0f/s, worst %.0f ms, longest gap of an address %.0f ms", r.OK, r.Failed, r.PerS, r.WorstMS, r.GapMS)
	if r.Late > 0 {
		s += fmt.Sprintf(" (%d times this machine could not keep the pace)", r.Late)
	}
	for _, e := range slices.Concat(r.Errors, r.Slow) {
		s += "\n  " + e
	}
	return s
}

// asked runs f under load and tells how that went; a failed request is an error,
// and so is a slow one.
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
	if err == nil && len(r.Slow) > 0 {
		err = fmt.Errorf("%s: requests took longer than %s", what, slowRequest)
	}
	return err
}
