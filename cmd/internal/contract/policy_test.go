package contract

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair is a cluster of two boxes with a page on one address.
func pair(t *testing.T, init ...string) *land {
	t.Helper()
	l := newLand(t)
	want(t, 0, "rainctl", append(append([]string{"init", "pair", filepath.Join(l.dir, "n1"), "--vip", "127.0.1.1", "--preset", "laptop"}, l.places(31)...), init...)...)
	l.start("n1")
	l.until("a cluster of one", func(st map[string]any) bool { return names(st) == "n1" })
	site := filepath.Join(l.dir, "site")
	if err := os.MkdirAll(site, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte("first page"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.ctl(0, "site", "publish", site, "www", "--default")
	l.join("n2", 32)
	l.allUp("n1 n2")
	page(t, "http://127.0.0.32:"+l.web+"/") // n2 has its own copy of the body
	return l
}

// by calls rainctl on one node of the land.
func (l *land) by(node string, args ...string) result {
	return call(l.t, "rainctl", append([]string{"--cluster", filepath.Join(l.dir, node, "cluster.json")}, args...)...)
}

func (l *land) eventually(what string, is func() bool) {
	l.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("not within %v: %s; status %s", patience, what, l.by("n2", "status").stdout)
		}
	}
}

// TestPolicyDynamic: of two boxes the wrong one dies; the other stops, says why,
// and goes on by force.
func TestPolicyDynamic(t *testing.T) {
	l := pair(t)
	l.boxes["n1"].end(syscall.SIGKILL) // the first one is the distinguished member
	l.eventually("n2 says why it stands still", func() bool {
		return strings.Contains(l.by("n2", "--get", "reason", "ring", "quorum").stdout, "n1")
	})
	if r := l.by("n2", "ring", "bootstrap", "n2"); r.code != 6 || !strings.Contains(r.stderr, "two clusters") {
		t.Errorf("without --force: exit code %d, %s", r.code, r.stderr)
	}
	l.eventually("the forced start", func() bool { return l.by("n2", "ring", "bootstrap", "n2", "--force").code == 0 })
	if got := page(t, "http://127.0.1.1:"+l.web+"/"); got != "first page" {
		t.Errorf("after the forced start the page is %q", got)
	}
	if r := l.by("n2", "ring", "bootstrap", "n2", "--force"); r.code != 6 {
		t.Errorf("forcing a running cluster: exit code %d", r.code)
	}
	l.start("n1") // and joins
	l.allUp("n1 n2")
}

// TestPolicyWitness: the same death, with a witness: the other goes on.
func TestPolicyWitness(t *testing.T) {
	at := "127.0.0.39:" + freePorts(t, 1)[0]
	l := pair(t, "--witness", at)
	w := exec.Command(program(t, "snow"), "witness", "--listen", at, "--key-file", filepath.Join(l.dir, "n1", "cluster.key"), "--data", filepath.Join(l.dir, "w"))
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.Process.Kill() // it may be gone already
		_ = w.Wait()
	})
	l.eventually("either may die", func() bool {
		return strings.Contains(l.by("n2", "--get", "text", "ring", "quorum").stdout, "each of them now")
	})
	l.boxes["n1"].end(syscall.SIGKILL)
	l.eventually("n2 goes on", func() bool { return strings.TrimSpace(l.by("n2", "--get", "ring.primary", "status").stdout) == "true" })
	if got := page(t, "http://127.0.1.1:"+l.web+"/"); got != "first page" {
		t.Errorf("the page is %q", got)
	}
	l.start("n1")
	l.allUp("n1 n2")
}

// TestPolicyAny: the same death: the other still answers and reads, and changes
// nothing.
func TestPolicyAny(t *testing.T) {
	l := pair(t, "--policy", "any")
	l.boxes["n1"].end(syscall.SIGKILL)
	l.eventually("n2 goes on alone", func() bool { return strings.TrimSpace(l.by("n2", "--get", "ring.alone", "status").stdout) == "true" })
	if got := page(t, "http://127.0.1.1:"+l.web+"/"); got != "first page" {
		t.Errorf("the page is %q", got)
	}
	if r := l.by("n2", "bucket", "create", "boxes"); r.code != 5 {
		t.Errorf("a change without a quorum: exit code %d, %s", r.code, r.stderr)
	}
	l.start("n1")
	l.allUp("n1 n2")
	l.until("nobody is alone", func(st map[string]any) bool { return fmt.Sprint(st["ring"].(map[string]any)["alone"]) == "false" })
}
