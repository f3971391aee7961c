//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// effects writes into the guestbook, first in peace to see what it costs, then
// while nodes crash and freeze. Clients repeat with the same key what they got no
// answer for. In the end each key must be in the book exactly once, with the text
// and under the id that its client was told, on every node.
func effects(ctx context.Context, c *cluster, o options) error {
	n := o.n
	if n == 0 {
		n = 10000
	}
	if err := effectCosts(ctx, c); err != nil {
		return err
	}
	b := &bookTrial{c: c, seed: o.seed, answers: map[string]uint64{}}
	start := time.Now()
	faults := make(chan struct{})
	var tally faultTally
	var err error
	go func() {
		defer close(faults)
		tally, err = faultsAtRandom(ctx, c, o)
	}()
	b.write(ctx, n, 16, 8*time.Millisecond, faults)
	<-faults
	if err != nil {
		return err
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	fmt.Printf("effects: %d keys, %d requests for them, %d replayed answers, %d x 409, %d x 503, %d without an answer; longest wait %v\n",
		len(b.answers), b.tries.Load(), b.replays.Load(), b.conflicts.Load(), b.refused.Load(), b.silent.Load(), b.longest.Round(time.Millisecond))
	fmt.Printf("effects: %d crashes, %d freezes, %d of them while another node was down; %.0f s; load %s\n",
		tally.crashes, tally.freezes, tally.double, time.Since(start).Seconds(), load())
	if st, err := c.status(ctx, c.file.Nodes[0]); err == nil {
		fmt.Printf("effects: the queue claimed %d entries of dead nodes and replayed %d outcomes\n", st.Queue.Claimed, st.Queue.Replayed)
	}
	return b.verify(ctx)
}

// bookTrial are clients of the guestbook and what they were told.
type bookTrial struct {
	c    *cluster
	seed uint64

	tries, replays, conflicts, refused, silent atomic.Int64

	mu      sync.Mutex
	answers map[string]uint64 // key -> id
	faults  []error
	longest time.Duration
}

func bookText(key string) string { return "written under " + key + " <&> é" }

// write has workers write at the pace of one text per worker and pause until at
// least n are written and done is closed.
func (b *bookTrial) write(ctx context.Context, n, workers int, pause time.Duration, done <-chan struct{}) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(b.seed, uint64(w)))
			// A frozen node keeps its connections: give up on it soon.
			client := &http.Client{Timeout: 1500 * time.Millisecond, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				i := next.Add(1)
				select {
				case <-done:
					if i > int64(n) {
						return
					}
				default:
				}
				b.one(ctx, client, rng, fmt.Sprintf("trial-%d-%06d", b.seed, i))
				sleep(ctx, time.Duration(rng.Int64N(int64(2*pause*time.Duration(workers)))))
			}
		})
	}
	wg.Wait()
}

// one writes one text, however often it takes.
func (b *bookTrial) one(ctx context.Context, client *http.Client, rng *rand.Rand, key string) {
	start := time.Now()
	for ctx.Err() == nil {
		id, err := b.try(ctx, client, b.target(rng), key)
		if err != nil {
			b.mu.Lock()
			b.faults = append(b.faults, err)
			b.mu.Unlock()
			return
		}
		if id != 0 {
			b.mu.Lock()
			b.answers[key] = id
			b.longest = max(b.longest, time.Since(start))
			b.mu.Unlock()
			return
		}
		sleep(ctx, time.Duration(20+rng.IntN(100))*time.Millisecond)
	}
}

// target is a VIP, mostly, or a node's own address.
func (b *bookTrial) target(rng *rand.Rand) string {
	if rng.IntN(3) > 0 {
		return "http://" + b.c.file.VIPs[rng.IntN(len(b.c.file.VIPs))]
	}
	return b.c.file.Nodes[rng.IntN(len(b.c.file.Nodes))].HTTP
}

// try sends the text once: the id, or 0 if it is to be sent again.
func (b *bookTrial) try(ctx context.Context, client *http.Client, url, key string) (uint64, error) {
	b.tries.Add(1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/guestbook", strings.NewReader(bookText(key)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Idempotency-Key", `"`+key+`"`)
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		b.silent.Add(1)
		return 0, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		b.silent.Add(1)
		return 0, nil
	}
	switch resp.StatusCode {
	case http.StatusCreated:
	case http.StatusConflict:
		b.conflicts.Add(1)
		return 0, nil
	case http.StatusServiceUnavailable:
		b.refused.Add(1)
		return 0, nil
	default:
		return 0, fmt.Errorf("%s: POST with key %s: %s: %.200s", url, key, resp.Status, body)
	}
	if resp.Header.Get("Idempotency-Replayed") != "" {
		b.replays.Add(1)
	}
	var a struct {
		ID  uint64 `json:"id"`
		Key string `json:"key"`
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Key != key || a.ID == 0 {
		return 0, fmt.Errorf("%s: POST with key %s answers %.200s (%v)", url, key, body, err)
	}
	return a.ID, nil
}

// bookEntry is an entry of the book as a node lists it.
type bookEntry struct {
	ID   uint64 `json:"id"`
	Key  string `json:"key"`
	Text string `json:"text"`
}

func readBook(ctx context.Context, url string) ([]bookEntry, error) {
	var all []bookEntry
	for after := uint64(0); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/guestbook?after=%d", url, after), nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s/guestbook: %s: %.200s (%v)", url, resp.Status, body, err)
		}
		var page struct {
			Entries []bookEntry `json:"entries"`
			Next    uint64      `json:"next"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Entries...)
		if after = page.Next; after == 0 {
			return all, nil
		}
	}
}

// verify counts the keys in the book of each node.
func (b *bookTrial) verify(ctx context.Context) error {
	errs := b.faults
	var first []byte
	for _, n := range b.c.file.Nodes {
		list, err := readBook(ctx, n.HTTP)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
		times := map[string]int{}
		wrong, strange := 0, 0
		for _, e := range list {
			if !strings.HasPrefix(e.Key, fmt.Sprintf("trial-%d-", b.seed)) {
				continue // of the peaceful part
			}
			id, known := b.answers[e.Key]
			times[e.Key]++
			switch {
			case !known:
				strange++
			case id != e.ID || e.Text != bookText(e.Key):
				wrong++
				fmt.Printf("%s: %s is in the book as %d %q; its client was told id %d\n", n.Name, e.Key, e.ID, e.Text, id)
			}
		}
		missing, twice := 0, 0
		for key := range b.answers {
			switch times[key] {
			case 0:
				missing++
				fmt.Printf("%s: %s is not in the book; its client was told id %d\n", n.Name, key, b.answers[key])
			case 1:
			default:
				twice++
			}
		}
		fmt.Printf("%s: %d keys in the book, %d missing, %d more than once, %d with another id or text, %d that no client was told of\n",
			n.Name, len(times), missing, twice, wrong, strange)
		if missing+twice+wrong+strange > 0 {
			errs = append(errs, fmt.Errorf("%s: not exactly once", n.Name))
		}
		raw, err := json.Marshal(list)
		if err != nil {
			return err
		}
		if first == nil {
			first = raw
		} else if !bytes.Equal(first, raw) {
			errs = append(errs, fmt.Errorf("%s has another book than %s", n.Name, b.c.file.Nodes[0].Name))
		}
	}
	return errors.Join(errs...)
}

// effectCosts measures posts one after the other, then by 32 clients at once, and
// what of their time goes where.
func effectCosts(ctx context.Context, c *cluster) error {
	for _, run := range []struct {
		name    string
		workers int
		each    int
	}{{"idle, one client", 1, 200}, {"32 clients", 32, 40}} {
		var mu sync.Mutex
		var all []time.Duration
		refused := 0
		b := &bookTrial{c: c, answers: map[string]uint64{}}
		var wg sync.WaitGroup
		start := time.Now()
		for w := range run.workers {
			wg.Go(func() {
				client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
				defer client.CloseIdleConnections()
				for i := range run.each {
					begin := time.Now()
					id, err := b.try(ctx, client, "http://"+c.file.VIPs[w%len(c.file.VIPs)], fmt.Sprintf("cost-%d-%d-%d", run.workers, w, i))
					took := time.Since(begin)
					mu.Lock()
					switch {
					case err != nil:
						b.faults = append(b.faults, err)
					case id == 0:
						refused++ // on a machine that is too busy
					default:
						all = append(all, took)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if err := errors.Join(b.faults...); err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("none of %d posts was taken", refused)
		}
		slices.Sort(all)
		fmt.Printf("cost, %-16s %5d posts, %d not taken, p50 %.1f ms, p99 %.1f ms, max %.1f ms, %.0f/s; load %s\n", run.name+":", len(all), refused,
			ms(all[len(all)/2]), ms(all[len(all)*99/100]), ms(all[len(all)-1]), float64(len(all))/time.Since(start).Seconds(), load())
		if err := printParts(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// printParts shows what the nodes say of an effect's parts.
func printParts(ctx context.Context, c *cluster) error {
	for _, n := range c.file.Nodes {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Admin+"/metrics", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		line := ""
		for l := range strings.Lines(string(body)) {
			var seconds float64
			rest, ok := strings.CutPrefix(l, `rain_effect_part_seconds{part="`)
			if !ok {
				continue
			}
			name, rest, _ := strings.Cut(rest, `",quantile="`)
			quantile, value, _ := strings.Cut(rest, `"} `)
			if _, err := fmt.Sscan(value, &seconds); err != nil {
				return fmt.Errorf("metrics of %s: %q: %w", n.Name, l, err)
			}
			if quantile == "0.5" {
				line += fmt.Sprintf("  %s p50 %.1f", name, 1000*seconds)
			} else {
				line += fmt.Sprintf(" p99 %.1f ms", 1000*seconds)
			}
		}
		if !strings.Contains(line, "begin p50 0.0") {
			fmt.Printf("      %s:%s\n", n.Name, line)
		}
	}
	return nil
}
