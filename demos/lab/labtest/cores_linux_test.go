package labtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

const (
	clock = "15:04:05.000"
	// stood is how long a core must not have run anything here to be told of: less
	// than what a path's silence takes to be noticed.
	stood = 50 * time.Millisecond
)

// cores watches whether the machine itself stood still, by a watch on each core, and
// how long the nodes' threads waited for a core: what stops these is no net.
type cores struct {
	l      *lab
	mu     sync.Mutex
	gaps   []string
	waited map[string]map[string]time.Duration // by node and thread
}

func (l *lab) cores() *cores {
	c := &cores{l: l}
	me, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	watch := exec.Command(me)
	watch.Env = append(os.Environ(), watchEnv+"=1")
	leash, err1 := watch.StdinPipe()
	said, err2 := watch.StdoutPipe()
	if err := errors.Join(err1, err2, watch.Start()); err != nil {
		l.t.Fatal(err)
	}
	var heard sync.WaitGroup
	heard.Go(func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			c.mu.Lock()
			c.gaps = append(c.gaps, lines.Text())
			c.mu.Unlock()
		}
	})
	l.t.Cleanup(func() {
		_ = leash.Close() // ours alone
		heard.Wait()
		if err := watch.Wait(); err != nil {
			l.t.Errorf("the watch on the cores: %v", err)
		}
	})
	c.waited = c.queues()
	return c
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
