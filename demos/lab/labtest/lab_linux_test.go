package labtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs are built once for all tests.
type programs struct {
	once sync.Once
	dir  string
	err  error
}

func (p *programs) build() {
	if p.dir = os.Getenv("RAIN_BIN"); p.dir != "" {
		return // built already
	}
	if p.dir, p.err = os.MkdirTemp("", "rain-labtest-"); p.err != nil {
		return
	}
	out, err := exec.Command("go", "build", "-o", p.dir, "rain/demos/lab", "rain/cmd/rainvideo", "rain/cmd/rainctl").CombinedOutput()
	if err != nil {
		p.err = fmt.Errorf("%w: %s", err, out)
	}
}

var bin programs

func TestMain(m *testing.M) {
	if os.Getenv(watchEnv) != "" {
		watchCores()
		return
	}
	code := m.Run()
	if bin.dir != "" && bin.dir != os.Getenv("RAIN_BIN") {
		_ = os.RemoveAll(bin.dir) // a folder too many in /tmp harms nobody
	}
	os.Exit(code)
}

// lab is a laboratory that is up.
type lab struct {
	t     *testing.T
	dir   string
	token string
	nodes []string
	pid   int // of the laboratory, outside of it
	leash io.Closer
	doors doors
}

// up builds the laboratory of a topology file and waits until all nodes are in
// one view.
func up(t *testing.T, topology string, change func(string) string, flags ...string) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("short")
	}
	if os.Geteuid() != 0 {
		fmt.Printf("skipped lab/%s: network namespaces need root\n", strings.TrimPrefix(t.Name(), "Test"))
		t.Skip("not root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		fmt.Printf("skipped lab/%s: %v\n", strings.TrimPrefix(t.Name(), "Test"), err)
		t.Skip("no TAP devices")
	}
	if bin.once.Do(bin.build); bin.err != nil {
		t.Fatal(bin.err)
	}
	text, err := os.ReadFile(topology)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: t.TempDir()}
	file := filepath.Join(l.dir, "net.toml")
	if err := os.WriteFile(file, []byte(change(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(bin.dir, "lab"), append([]string{"--dir", l.dir, "up", file, "--bound", "--program", filepath.Join(bin.dir, "rainvideo")}, flags...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it takes all down with it
	var told answer
	cmd.Stdout, cmd.Stderr = &told, os.Stderr
	leash, err := cmd.StdinPipe() // ends with this process, however that ends
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.leash = leash
	t.Cleanup(func() {
		defer func() { _ = leash.Close() }() // long gone
		if t.Failed() {
			l.logs()
		}
		cancel()
		_ = cmd.Wait() // it was told to go
	})
	l.until("laboratory", 30*time.Second, func() bool {
		_, err := l.try("status")
		return err == nil && told.said(&l.pid)
	})
	b, err := os.ReadFile(filepath.Join(l.dir, "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cf struct {
		Token string   `json:"token"`
		Admin []string `json:"admin"`
	}
	if err := json.Unmarshal(b, &cf); err != nil {
		t.Fatal(err)
	}
	l.token = cf.Token
	for i := range cf.Admin {
		l.nodes = append(l.nodes, fmt.Sprintf("n%d", i+1))
	}
	if !slices.Contains(flags, "--empty") {
		answered := time.Now()
		l.until("one view of all", 30*time.Second, func() bool { return l.agree(l.nodes) })
		t.Logf("first view of all %d nodes after %v", len(l.nodes), time.Since(answered).Round(10*time.Millisecond))
	}
	return l
}

// answer is what 'lab up' prints, as it comes.
type answer struct {
	mu sync.Mutex
	b  []byte
}

func (a *answer) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.b = append(a.b, b...)
	return len(b), nil
}

// said reads the laboratory's pid, once it is told.
func (a *answer) said(pid *int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	var v struct {
		PID int `json:"pid"`
	}
	if json.Unmarshal(a.b, &v) != nil || v.PID == 0 {
		return false
	}
	*pid = v.PID
	return true
}

func (l *lab) logs() {
	for _, n := range l.nodes {
		b, err := os.ReadFile(filepath.Join(l.dir, n, "node.log"))
		if err != nil {
			continue
		}
		lines := strings.Split(string(b), "\n")
		keep := slices.DeleteFunc(lines, func(s string) bool {
			return !strings.Contains(s, "failed") && !strings.Contains(s, "suspect") && !strings.Contains(s, "view") && !strings.Contains(s, "neighbour")
		})
		l.t.Logf("%s:\n%s", n, strings.Join(keep[max(0, len(keep)-15):], "\n"))
	}
}

// try runs a verb of the laboratory.
func (l *lab) try(args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(bin.dir, "lab"), append([]string{"--dir", l.dir}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("lab %v: %w: %s", args, err, errs.String())
	}
	return out, err
}

func (l *lab) do(args ...string) []byte {
	l.t.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// rainctl runs rainctl in a host, asking the node there.
func (l *lab) rainctl(host string, args ...string) ([]byte, error) {
	token := filepath.Join(l.dir, "admin.token")
	return l.try(append([]string{"exec", host, filepath.Join(bin.dir, "rainctl"), "--admin", "http://127.0.0.1:8081", "--token-file", token, "--json"}, args...)...)
}

// view is what a node says of its ring.
type view struct {
	number  uint64
	members []string
}

// views are those of the nodes that are in a primary view with a lease.
func (l *lab) views(nodes []string) map[string]view {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]view{}
	for _, n := range nodes {
		wg.Go(func() {
			st, err := l.status(n)
			if err != nil || !st.Ring.Primary {
				return
			}
			v := view{number: st.Ring.View}
			for _, m := range st.Members {
				if m.Incarnation != 0 && m.State != "down" {
					v.members = append(v.members, m.Name)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out[n] = v
		})
	}
	wg.Wait()
	return out
}

// agree reports whether exactly these nodes form the primary view.
func (l *lab) agree(nodes []string) bool {
	vs := l.views(l.nodes)
	if len(vs) != len(nodes) {
		return false
	}
	want := slices.Sorted(slices.Values(nodes))
	for _, n := range nodes {
		if v, ok := vs[n]; !ok || v.number != vs[nodes[0]].number || !slices.Equal(slices.Sorted(slices.Values(v.members)), want) {
			return false
		}
	}
	return true
}

func (l *lab) until(what string, d time.Duration, f func() bool) {
	l.t.Helper()
	for end := time.Now().Add(d); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("no %s within %v; views %v", what, d, l.views(l.nodes))
		}
	}
}

// links waits until a node sees so many paths up to another.
func (l *lab) links(from, to string, want int) {
	l.t.Helper()
	l.until(fmt.Sprintf("%d paths from %s to %s", want, from, to), 20*time.Second, func() bool {
		st, err := l.status(from)
		up := 0
		for _, x := range st.Links {
			if x.B == to && x.State == "up" {
				up++
			}
		}
		return err == nil && up == want
	})
}

// withVIPs changes how many virtual addresses a topology file asks for, and the
// preset: these tests may run on a busy machine.
func withVIPs(n int) func(string) string {
	return func(s string) string {
		var out []string
		for _, line := range strings.Split(s, "\n") {
			switch {
			case strings.HasPrefix(line, "vips ="):
				line = fmt.Sprintf("vips = %d", n)
			case strings.HasPrefix(line, "preset ="):
				line = `preset = "laptop"`
			}
			out = append(out, line)
		}
		return strings.Join(out, "\n")
	}
}

// logged reports whether the node of a host has logged something with these words.
func (l *lab) logged(host, words string) bool {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, host, "node.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	return bytes.Contains(b, []byte(words))
}
