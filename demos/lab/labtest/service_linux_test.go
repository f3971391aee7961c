package labtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/demos/lab/viewer"
)

const (
	vip      = "http://10.77.100.1:8080"
	filmPath = "/video/demo/index.m3u8"
	// mayStall is how long a film may stand still, and a page be without an
	// answer, when a link or switch dies that is not the only one.
	mayStall = 100.0 // ms
)

// publish puts a page and a film into the cluster and waits until the client
// gets both.
func (l *lab) publish() {
	l.t.Helper()
	site := filepath.Join(l.dir, "site")
	if err := os.MkdirAll(site, 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte("hello\n"), 0o644); err != nil {
		l.t.Fatal(err)
	}
	l.until("site", 30*time.Second, func() bool {
		_, err := l.rainctl("n1", "site", "publish", site, "lab.rain", "--default")
		return err == nil
	})
	l.until("film", 60*time.Second, func() bool {
		_, err := l.rainctl("n1", "video", "add", "../../../assets/film/demo.mp4", "--name", "demo")
		return err == nil
	})
	for _, path := range []string{"/", filmPath} {
		l.until("answer for "+path, 30*time.Second, func() bool {
			out, err := l.try("exec", "client", filepath.Join(bin.dir, "rainctl"), "--json", "watch", vip+path, "--every", "50ms", "--for", "200ms")
			var w seen
			return err == nil && json.Unmarshal(out, &w) == nil && w.OK > 0 && w.Failed == 0
		})
	}
}

// seen is what rainctl watch tells.
type seen struct {
	OK      int            `json:"ok"`
	Failed  int            `json:"failed"`
	Skipped int            `json:"skipped"`
	Longest float64        `json:"longest_gap_ms"`
	Late    float64        `json:"late_ms"`
	P50     float64        `json:"p50_ms"`
	P99     float64        `json:"p99_ms"`
	Slowest float64        `json:"slowest_ms"`
	Reasons map[string]int `json:"reasons"`
}

func (s seen) String() string {
	return fmt.Sprintf("%d requests answered, %d failed %v, longest gap %.0f ms (client late by %.0f ms), p50 %.1f ms, p99 %.0f ms, slowest %.0f ms",
		s.OK, s.Failed, s.Reasons, s.Longest, s.Late, s.P50, s.P99, s.Slowest)
}

// served has the client ask for a page 1,000 times a second, on a new connection
// each, and watch a film, while f breaks things. Neither repeats a request.
func (l *lab) served(d time.Duration, f func()) (seen, viewer.Report) {
	l.t.Helper()
	var w seen
	var r viewer.Report
	var wg sync.WaitGroup
	run := func(into any, args ...string) {
		wg.Go(func() {
			out, err := l.try(append([]string{"exec", "client"}, args...)...)
			var exit *exec.ExitError
			if err != nil && !(errors.As(err, &exit) && len(out) > 0) { // a watch that saw failures says so by its code
				l.t.Error(err)
				return
			}
			if err := json.Unmarshal(out, into); err != nil {
				l.t.Errorf("%v: %v: %s", args, err, out)
			}
		})
	}
	run(&w, filepath.Join(bin.dir, "rainctl"), "--json", "watch", vip+"/", "--every", "1ms", "--for", d.String())
	run(&r, filepath.Join(bin.dir, "lab"), "view", vip+filmPath, "--for", d.String(), "--ahead", "3s")
	time.Sleep(time.Second)
	f()
	wg.Wait()
	return w, r
}

// unharmed fails if a client noticed anything.
func (l *lab) unharmed(what string, w seen, r viewer.Report) {
	l.t.Helper()
	l.t.Logf("%s: %v; film: %.1f s shown, %d stalls, longest %.0f ms, %.0f ms lost, slowest segment %.0f ms",
		what, w, r.Shown/1000, len(r.Stalls), r.Longest, r.Lost, r.Slowest)
	if w.Failed > 0 || w.OK == 0 || r.Failed > 0 || r.Lost > 0 {
		l.t.Errorf("%s: %d of %d requests failed, %d segments of the film: %v", what, w.Failed, w.OK+w.Failed, r.Failed, r.Failures)
	}
	if r.Longest > mayStall {
		l.t.Errorf("%s: the film stood still for %.0f ms", what, r.Longest)
	}
}

// holders are the nodes that hold the addresses, by address.
func (l *lab) holders() map[string]string {
	l.t.Helper()
	st, err := l.status("n1")
	if err != nil {
		l.t.Fatal(err)
	}
	out := map[string]string{}
	for _, v := range st.VIPs {
		host, _, _ := strings.Cut(v.Addr, ":")
		out[host] = v.Holder
	}
	return out
}

// TestAsymmetricServes: two of three nodes do not hear each other, both ways or
// one way, while the third and the client hear all. Nobody leaves the view, and
// no request fails.
func TestAsymmetricServes(t *testing.T) {
	l := up(t, "../triangle.toml", withVIPs(3))
	l.publish()
	holder := l.holders()["10.77.100.1"]
	other := map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[holder]
	number := l.views(l.nodes)["n1"].number
	for _, c := range [][]string{
		{"cut", holder + "-" + other}, {"cut", holder + "-" + other, "--one-way"}, {"cut", other + "-" + holder, "--one-way"},
	} {
		w, r := l.served(8*time.Second, func() {
			l.do(c...)
			time.Sleep(4 * time.Second)
			l.do("heal")
		})
		l.unharmed(strings.Join(c, " "), w, r)
		l.same(strings.Join(c, " "), number)
		l.links(holder, other, 1)
		l.links(other, holder, 1)
	}
}

// TestLinkOfTwoServes: the holder of the address loses the interface that the
// address is on, and gets it back.
func TestLinkOfTwoServes(t *testing.T) {
	l := up(t, "../small.toml", withVIPs(2))
	l.publish()
	number := l.views(l.nodes)["n1"].number
	holder := l.holders()["10.77.100.1"]
	for _, s := range []string{"s1", "s2"} {
		cable := holder + "-" + s
		w, r := l.served(10*time.Second, func() {
			l.do("cut", cable)
			time.Sleep(4 * time.Second)
			l.do("heal")
		})
		l.unharmed("cut "+cable, w, r)
		l.same("cut "+cable, number)
		if h := l.holders()["10.77.100.1"]; h != holder {
			t.Errorf("cut %s: the address moved from %s to %s", cable, holder, h)
		}
		l.links(holder, "n1", map[bool]int{true: 0, false: 4}[holder == "n1"])
	}
}

// TestSwitchOfFourServes: a switch dies on which the holder of the address has
// an interface.
func TestSwitchOfFourServes(t *testing.T) {
	l := up(t, "../square.toml", withVIPs(2))
	l.publish()
	number := l.views(l.nodes)["n1"].number
	for _, s := range []string{"s3", "s2", "s4"} {
		w, r := l.served(8*time.Second, func() {
			l.do("crash", s)
			time.Sleep(3 * time.Second)
			l.do("heal")
		})
		l.unharmed("switch "+s+" dead", w, r)
		l.same("switch "+s+" dead", number)
	}
}
