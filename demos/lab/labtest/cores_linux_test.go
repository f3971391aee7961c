package labtest

import (
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

// cores watches whether the machine itself stood still: a thread on each core, as
// urgent as the nodes' rings. What stops these stops the nodes there, and no net.
type cores struct {
	stop  chan struct{}
	ended sync.WaitGroup
	mu    sync.Mutex
	gaps  []string
}

func (l *lab) cores() *cores {
	c := &cores{stop: make(chan struct{})}
	for cpu := range runtime.NumCPU() {
		c.ended.Go(func() { c.watch(cpu) })
	}
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

// told ends the watch.
func (c *cores) told() []string {
	close(c.stop)
	c.ended.Wait()
	return c.gaps
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
