package labtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	clock = "15:04:05.000"
	// stood is how long a core must not have run anything here to be told of: less
	// than what a path's silence takes to be noticed.
	stood = 50 * time.Millisecond
)

// cores watches whether the machine itself stood still, by a thread on each core
// that is more urgent than the nodes' rings, and how long the nodes' threads waited
// for a core: what stops these is no net.
type cores struct {
	l      *lab
	stop   chan struct{}
	ended  sync.WaitGroup
	mu     sync.Mutex
	gaps   []string
	waited map[string]map[string]time.Duration // by node and thread
}

func (l *lab) cores() *cores {
	c := &cores{l: l, stop: make(chan struct{})}
	for cpu := range runtime.NumCPU() {
		c.ended.Go(func() { c.watch(cpu) })
	}
	l.t.Cleanup(func() {
		close(c.stop)
		c.ended.Wait()
	})
	c.waited = c.queues()
	return c
}

func (c *cores) watch(cpu int) {
	runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
	var set unix.CPUSet
	set.Set(cpu)
	if unix.SchedSetaffinity(0, &set) != nil {
		return // a core that is not ours
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 3}
	_ = unix.SchedSetAttr(0, &attr, 0) // without it the gaps are those of any program
	for last := time.Now(); ; {
		select {
		case <-c.stop:
			return
		default:
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 5e6}, nil) // a signal: it looks earlier
		now := time.Now()
		if gap := now.Sub(last); gap > stood {
			c.mu.Lock()
			c.gaps = append(c.gaps, fmt.Sprintf("core %d for %v until %s", cpu, gap.Round(time.Millisecond), now.UTC().Format(clock)))
			c.mu.Unlock()
		}
		last = now
	}
}

// queues reads for how long each thread of each node has waited for a core so far.
func (c *cores) queues() map[string]map[string]time.Duration {
	out := map[string]map[string]time.Duration{}
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, p := range all {
		b, err := os.ReadFile(p)
		if err != nil {
			continue // it has ended
		}
		for _, n := range c.l.nodes {
			if !bytes.Contains(b, []byte(filepath.Join(c.l.dir, n, "node.toml"))) {
				continue
			}
			out[n] = map[string]time.Duration{}
			threads, _ := filepath.Glob(filepath.Join(filepath.Dir(p), "task/*/schedstat"))
			for _, t := range threads {
				var ran, waited int64
				if b, err := os.ReadFile(t); err == nil {
					_, _ = fmt.Sscan(string(b), &ran, &waited) // none: zero
				}
				out[n][t] = time.Duration(waited)
			}
		}
	}
	return out
}

// told says who stood since the last time.
func (c *cores) told() (out []string) {
	c.mu.Lock()
	out, c.gaps = c.gaps, nil
	c.mu.Unlock()
	now := c.queues()
	for _, n := range c.l.nodes {
		var most, all time.Duration
		for t, d := range now[n] {
			d -= c.waited[n][t]
			most, all = max(most, d), all+d
		}
		if most > stood {
			out = append(out, fmt.Sprintf("a thread of %s for %v, all of it %v", n, most.Round(time.Millisecond), all.Round(time.Millisecond)))
		}
	}
	c.waited = now
	return out
}

// keep copies what the nodes logged, and asks them for their links' histories.
func (l *lab) keep(dir string) {
	l.t.Helper()
	for _, n := range l.nodes {
		b, err := os.ReadFile(filepath.Join(l.dir, n, "node.log"))
		if err == nil {
			err = os.MkdirAll(dir, 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, n+".log"), b, 0o644)
		}
		if err != nil {
			l.t.Error(err)
		}
		for _, what := range []string{"links?history=1", "status", "events"} {
			var said json.RawMessage
			if err := l.ask(n, "/api/v1/"+what, &said); err != nil {
				l.t.Error(err)
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, n+"."+what[:5]+".json"), said, 0o644); err != nil {
				l.t.Error(err)
			}
		}
	}
}
