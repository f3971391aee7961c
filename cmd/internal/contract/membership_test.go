package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// box is a node that was made by rainctl init or join.
type box struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	exited chan struct{}
}

// land is a cluster that grows box by box on loopback addresses.
type land struct {
	t                *testing.T
	dir              string
	ring, web, admin string // ports
	boxes            map[string]*box
}

func newLand(t *testing.T) *land {
	t.Helper()
	if runtime.GOOS != "linux" {
		fmt.Printf("skipped contract/membership: more than one loopback address is needed\n")
		t.Skip("more than one loopback address is needed")
	}
	p := freePorts(t, 3)
	return &land{t: t, dir: t.TempDir(), ring: p[0], web: p[1], admin: p[2], boxes: map[string]*box{}}
}

func (l *land) places(host int) []string {
	ip := fmt.Sprintf("127.0.0.%d", host)
	return []string{"--listen", ip + ":" + l.ring, "--web", ip + ":" + l.web, "--admin-listen", ip + ":" + l.admin}
}

// start runs the node in dir.
func (l *land) start(name string) *box {
	l.t.Helper()
	b := &box{t: l.t, dir: filepath.Join(l.dir, name), stderr: &bytes.Buffer{}, exited: make(chan struct{})}
	b.cmd = exec.Command(program(l.t, "snow"), "run", "--config", filepath.Join(b.dir, "node.toml"))
	b.cmd.Stderr = b.stderr
	if err := b.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { _ = b.cmd.Wait(); close(b.exited) }()
	l.boxes[name] = b
	l.t.Cleanup(func() {
		_ = b.cmd.Process.Kill() // it may be gone already
		<-b.exited
		if l.t.Failed() {
			l.t.Logf("%s said:\n%s", name, b.stderr)
		}
	})
	return b
}

func (b *box) end(sig syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		b.t.Fatal(err)
	}
	<-b.exited
}

// ctl calls rainctl on the cluster, by the first box's file and token.
func (l *land) ctl(code int, args ...string) result {
	l.t.Helper()
	return want(l.t, code, "rainctl", append([]string{"--cluster", filepath.Join(l.dir, "n1", "cluster.json")}, args...)...)
}

// until waits for the status to be as is says.
func (l *land) until(what string, is func(st map[string]any) bool) {
	l.t.Helper()
	var last string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		r := call(l.t, "rainctl", "--cluster", filepath.Join(l.dir, "n1", "cluster.json"), "--json", "status")
		var st map[string]any
		if last = r.stdout + r.stderr; r.code == 0 && json.Unmarshal([]byte(r.stdout), &st) == nil && is(st) {
			return
		}
	}
	l.t.Fatalf("not within %v: %s; the last status was %s", patience, what, last)
}

// names are the nodes that are up, in the order of their ids.
func names(st map[string]any) string {
	var out []string
	for _, m := range st["members"].([]any) {
		m := m.(map[string]any)
		if m["state"] != "up" {
			return "" // not all are
		}
		out = append(out, m["name"].(string))
	}
	return strings.Join(out, " ")
}

func (l *land) allUp(want string) {
	l.t.Helper()
	l.until("nodes "+want+" are up and the VIP is held", func(st map[string]any) bool {
		return names(st) == want && st["vips"].([]any)[0].(map[string]any)["holder"] != ""
	})
}

// join invites a box and starts it.
func (l *land) join(name string, host int) {
	l.t.Helper()
	token := strings.TrimSpace(l.ctl(0, "invite").stdout)
	want(l.t, 0, "rainctl", append([]string{"join", token, filepath.Join(l.dir, name), "--node", name}, l.places(host)...)...)
	want(l.t, 0, "snow", "check", filepath.Join(l.dir, name, "node.toml"))
	l.start(name)
}

// TestMembershipForLife walks through all ways in which a node comes, changes and
// goes, on real processes, with nothing but what the help texts tell.
func TestMembershipForLife(t *testing.T) {
	l := newLand(t)
	vip := "127.0.1.1:" + l.web
	want(t, 0, "rainctl", append([]string{"init", "land", filepath.Join(l.dir, "n1"), "--vip", "127.0.1.1", "--preset", "laptop"}, l.places(31)...)...)
	want(t, 6, "rainctl", append([]string{"init", "land", filepath.Join(l.dir, "n1")}, l.places(39)...)...) // never overwritten
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
	l.join("n3", 33)
	l.allUp("n1 n2 n3")
	if got := page(t, "http://"+vip+"/"); got != "first page" {
		t.Errorf("the first page is %q", got)
	}

	invitations(l)
	keyChange(l)
	settings(l)

	// n2 leaves for good; n3 dies for good and n4 takes its place.
	l.ctl(0, "node", "leave", "n2")
	<-l.boxes["n2"].exited
	l.allUp("n1 n3")
	l.ctl(6, "node", "forget", "n3") // it lives
	l.boxes["n3"].end(syscall.SIGKILL)
	l.until("n3 is known as down", func(st map[string]any) bool { return strings.Contains(fmt.Sprint(st["sentence"]), "n3 down") })
	l.ctl(6, "node", "leave", "n3") // it cannot hand over
	l.join("n4", 34)
	l.until("n4 is up", func(st map[string]any) bool {
		return strings.Contains(fmt.Sprint(st["sentence"]), "2 of 3 nodes are up") && strings.Contains(fmt.Sprint(st["members"]), "name:n4")
	})
	l.ctl(0, "node", "replace", "n3", "n4")
	l.allUp("n1 n4")

	// The dead one comes back after all, and is told.
	want(t, 6, "snow", "run", "--config", filepath.Join(l.dir, "n3", "node.toml"))
	l.allUp("n1 n4")

	moves(l)
	wiped(l)
}

// invitations: one use, an end, taken back, and never for a stranger.
func invitations(l *land) {
	t := l.t
	token := strings.TrimSpace(l.ctl(0, "invite", "--name", "guest").stdout)
	id := l.ctl(0, "--get", "invitations.[name=guest].id", "invite", "ls").stdout
	l.ctl(0, "invite", "revoke", strings.TrimSpace(id))
	join := append([]string{"join", token, filepath.Join(l.dir, "guest")}, l.places(38)...)
	want(t, 6, "rainctl", join...)
	want(t, 3, "rainctl", append([]string{"join", token[:len(token)-3], filepath.Join(l.dir, "guest")}, l.places(38)...)...)
	short := strings.TrimSpace(l.ctl(0, "invite", "--for", "1s").stdout)
	time.Sleep(1100 * time.Millisecond)
	want(t, 6, "rainctl", append([]string{"join", short, filepath.Join(l.dir, "late")}, l.places(38)...)...)
	for _, dir := range []string{"guest", "late"} {
		if _, err := os.Stat(filepath.Join(l.dir, dir, "cluster.key")); err == nil {
			t.Errorf("%s has a key", dir)
		}
	}
	if n := l.ctl(0, "--get", "members.#", "status").stdout; strings.TrimSpace(n) != "3" {
		t.Errorf("%s nodes are listed", n)
	}
}

// keyChange: while requests run, and again on a node that was away meanwhile.
func keyChange(l *land) {
	t := l.t
	before, err := os.ReadFile(filepath.Join(l.dir, "n2", "cluster.key"))
	if err != nil {
		t.Fatal(err)
	}
	watch := make(chan result)
	go func() {
		watch <- call(t, "rainctl", "watch", "http://127.0.1.1:"+l.web+"/", "--every", "5ms", "--for", "4s", "--json")
	}()
	time.Sleep(500 * time.Millisecond)
	l.ctl(0, "key", "change")
	w := object(t, (<-watch).stdout)
	if w["failed"] != 0.0 || w["ok"].(float64) < 100 {
		t.Errorf("requests while the key was changed: %v", w)
	}
	var keys []string
	for _, n := range []string{"n1", "n2", "n3"} {
		b, err := os.ReadFile(filepath.Join(l.dir, n, "cluster.key"))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(b))
	}
	if keys[0] == string(before) || keys[0] != keys[1] || keys[1] != keys[2] || strings.Count(keys[0], "\n") != 1 {
		t.Errorf("after the change the key files differ, or are the old ones")
	}
	l.boxes["n3"].end(syscall.SIGTERM)
	l.until("n3 is away", func(st map[string]any) bool { return strings.Contains(fmt.Sprint(st["sentence"]), "n3 down") })
	l.ctl(6, "key", "change") // n3 would be left behind
	l.start("n3")
	l.allUp("n1 n2 n3")
}

// settings: the first node's file gave them, an operator changes them, and all
// nodes follow.
func settings(l *land) {
	t := l.t
	value := func(node, key string) string {
		t.Helper()
		r := call(t, "rainctl", "--cluster", filepath.Join(l.dir, node, "cluster.json"), "--get", "settings.[key="+key+"].value", "set")
		return strings.TrimSpace(r.stdout)
	}
	if got := value("n3", "detection"); got != "conservative" && got != "aggressive" {
		t.Errorf("detection is %q", got)
	}
	l.ctl(0, "set", "detection", "aggressive")
	if got := value("n3", "detection"); got != "aggressive" {
		t.Errorf("after the change detection is %q at n3", got)
	}
	if w := fmt.Sprint(object(t, l.ctl(0, "--json", "status").stdout)["warnings"]); !strings.Contains(w, "detection is") {
		t.Errorf("a file that differs is no warning: %s", w)
	}
	l.ctl(0, "set", "detection", "conservative")
	l.ctl(3, "set", "detection", "sometimes")
	l.ctl(6, "set", "preset", "fast")
	l.ctl(4, "set", "colour", "blue")
	l.ctl(0, "set", "vip.pool.more", "127.0.1.7")
	if got := page(t, "http://127.0.1.7:"+l.web+"/"); got != "first page" {
		t.Errorf("the new address answers %q", got)
	}
	l.ctl(0, "set", "vip.pool.more", "--unset")
	l.until("the address is let go", func(st map[string]any) bool { return len(st["vips"].([]any)) == 1 })
}

// moves: a node comes back at another address, which no file of the others has.
func moves(l *land) {
	path := filepath.Join(l.dir, "n4", "node.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	l.boxes["n4"].end(syscall.SIGTERM)
	if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte("127.0.0.34:"+l.ring), []byte("127.0.0.35:"+l.ring)), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.start("n4")
	l.allUp("n1 n4")
}

// wiped: the founder comes back with an empty disk while the others are away. It
// must not found a cluster beside theirs, although its file alone would let it.
func wiped(l *land) {
	l.boxes["n1"].end(syscall.SIGKILL)
	l.boxes["n4"].end(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(l.dir, "n1", "data")); err != nil {
		l.t.Fatal(err)
	}
	l.start("n1")
	l.until("n1 answers", func(map[string]any) bool { return true })
	time.Sleep(2 * time.Second) // many times what founding takes
	if st := object(l.t, l.ctl(0, "--json", "status").stdout); st["ring"].(map[string]any)["primary"] != false {
		l.t.Errorf("with an empty disk it founded a cluster anew: %v", st["sentence"])
	}
}

func page(t *testing.T, url string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(url)
		if err == nil {
			var b bytes.Buffer
			_, err = b.ReadFrom(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return b.String()
			}
		}
		if time.Now().After(end) {
			t.Fatalf("get %s: %v", url, err)
		}
	}
}
