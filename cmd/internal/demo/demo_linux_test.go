package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"rain/cmd/internal/cli"
	"rain/conf"
)

// TestMain lets the test binary stand in for the program: as a node ("run
// --config FILE") and as a whole demo that gets killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "run" {
		os.Exit(fakeNode(os.Args[3]))
	}
	if len(os.Args) > 2 && os.Args[1] == "whole-demo" {
		o := testOptions(os.Stdout)
		o.Dir = os.Args[2]
		os.Exit(cli.Report(Run(context.Background(), o), false, "demo", os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// fakeNode answers as a node of a healthy cluster would; n1 holds all VIPs.
func fakeNode(path string) int {
	f, err := conf.Load(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "..", "die-"+f.Node.Name)); err == nil {
		fmt.Fprintln(os.Stderr, "the data folder is in use")
		return 8
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+string(f.Admin.Token) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var members, vips []string
		for range f.Peers {
			members = append(members, `{"state":"up"}`)
		}
		for _, a := range f.VIP.Pools[0].Addresses {
			vips = append(vips, fmt.Sprintf(`{"addr":"%s","holder":"n1"}`, a.Addr()))
		}
		fmt.Fprintf(w, `{"ring":{"primary":true,"view":3},"members":[%s],"vips":[%s]}`, strings.Join(members, ","), strings.Join(vips, ","))
	})
	listen := append([]netip.AddrPort{f.Admin.Listen}, f.Web.Listen...)
	if f.Node.Name == "n1" {
		for _, a := range f.VIP.Pools[0].Addresses {
			listen = append(listen, netip.AddrPortFrom(a.Addr(), uint16(f.Web.VIPPort)))
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	for _, a := range listen {
		ln, err := net.Listen("tcp", a.String())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 8
		}
		go http.Serve(ln, mux)
	}
	<-ctx.Done()
	return 0
}

// testOptions are for a demo of two nodes on ports that were free a moment ago.
func testOptions(out io.Writer) Options {
	o := Default()
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	o.Nodes, o.Exe, o.Stdout, o.Stderr, o.JSON = 2, exe, out, io.Discard, true
	for _, p := range []*int{&o.Port, &o.AdminPort, &o.RingPort} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		defer ln.Close() // all three at the end: they must differ
		*p = ln.Addr().(*net.TCPAddr).Port
	}
	return o
}

func readFile(t *testing.T, dir string) (d description) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "demo.json"))
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// eventually waits for demo.json to show something.
func eventually(t *testing.T, dir, what string, ok func(description) bool) description {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "demo.json")); err == nil {
			if d := readFile(t, dir); ok(d) {
				return d
			}
		}
		if time.Now().After(end) {
			raw, _ := os.ReadFile(filepath.Join(dir, "demo.json"))
			log, _ := os.ReadFile(filepath.Join(dir, "n1", "node.log"))
			t.Fatalf("%s: not within 20 s\n%s\n%s", what, raw, log)
		}
	}
}

// dead is how a test sees that a process is gone.
func dead(pid int) bool {
	alive, _ := look(pid)
	return !alive
}

func post(t *testing.T, d description, token, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, d.Control+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(raw)
}

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	o := testOptions(&out)
	o.Dir = filepath.Join(t.TempDir(), "d")
	o.Site = fstest.MapFS{"index.html": {Data: []byte("hello")}}
	var published []string
	o.Publish = func(_ context.Context, admins []string, token, host string, site fs.FS) error {
		if _, err := fs.Stat(site, "index.html"); err != nil {
			return err
		}
		published = append(admins, host)
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	d := eventually(t, o.Dir, "ready", func(description) bool { return true })

	if d.API != 1 || d.PID != os.Getpid() || d.Host != "demo.rain" || d.Dir != o.Dir || len(d.Token) != 32 ||
		d.Site != fmt.Sprintf("http://127.0.1.1:%d/", o.Port) || d.Control != fmt.Sprintf("http://127.0.0.10:%d", o.AdminPort) ||
		len(d.VIPs) != 2 || d.VIPs[1] != fmt.Sprintf("127.0.1.2:%d", o.Port) || len(d.Nodes) != 2 {
		t.Errorf("demo.json: %+v", d)
	}
	n := d.Nodes[1]
	if n.Name != "n2" || n.ID != "0.1.0.2" || n.PID == 0 || n.State != running || n.HTTP != fmt.Sprintf("http://127.0.0.12:%d", o.Port) ||
		n.Admin != fmt.Sprintf("http://127.0.0.12:%d", o.AdminPort) || len(n.Ring) != 1 || n.Ring[0] != fmt.Sprintf("127.0.0.12:%d", o.RingPort) ||
		strings.Join(n.Argv, " ") != o.Exe+" run --config "+o.Dir+"/n2/node.toml" || n.Data != o.Dir+"/n2/data" || n.Log != o.Dir+"/n2/node.log" {
		t.Errorf("node: %+v", n)
	}

	if code, body := post(t, d, "wrong", "/nodes/n2/crash"); code != 401 || !strings.Contains(body, `{"api":1,"error":{"code":"not_authorised"`) {
		t.Errorf("a wrong token: %d %s", code, body)
	}
	state := func(node int, want string) description {
		return eventually(t, o.Dir, fmt.Sprintf("n%d %s", node, want), func(d description) bool { return d.Nodes[node-1].State == want })
	}
	for _, c := range []struct {
		path string
		code int
		want string // state of n2 then
	}{
		{"/nodes/n9/crash", 404, running}, {"/nodes/n2/fly", 404, running}, {"/nodes/n2/start", 409, running},
		{"/nodes/n2/freeze", 200, frozen}, {"/nodes/n2/thaw", 200, running},
		{"/nodes/n2/freeze", 200, frozen}, {"/nodes/n2/crash", 200, crashed}, {"/nodes/n2/crash", 409, crashed},
		{"/nodes/n2/start", 200, running},
	} {
		if code, body := post(t, d, d.Token, c.path); code != c.code || !strings.HasPrefix(body, `{"api":1,`) {
			t.Errorf("%s: %d %s, want %d", c.path, code, body, c.code)
		}
		state(2, c.want)
	}
	if again := readFile(t, o.Dir).Nodes[1]; again.PID == n.PID || again.PID == 0 {
		t.Errorf("a node that was started again has pid %d, before %d", again.PID, n.PID)
	}

	t.Run("signals from outside", func(t *testing.T) {
		pid := d.Nodes[0].PID
		for _, c := range []struct {
			sig  syscall.Signal
			want string
		}{{syscall.SIGSTOP, frozen}, {syscall.SIGCONT, running}, {syscall.SIGKILL, crashed}} {
			if err := syscall.Kill(pid, c.sig); err != nil {
				t.Fatal(err)
			}
			state(1, c.want)
		}
		// Anyone may run argv; the demo finds it and ends it at its own end.
		foreign := exec.Command(d.Nodes[0].Argv[0], d.Nodes[0].Argv[1:]...)
		if err := foreign.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := foreign.Wait(); err != nil {
				t.Errorf("the foreign node did not end by TERM: %v", err)
			}
		}()
		if got := state(1, running).Nodes[0].PID; got != foreign.Process.Pid {
			t.Errorf("pid %d, started as %d", got, foreign.Process.Pid)
		}
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // or TERM comes before it listens for it
			if res, err := http.Get(d.Nodes[0].Admin + "/readyz"); err == nil {
				res.Body.Close()
				break
			}
			if time.Now().After(end) {
				t.Fatal("the foreign node does not answer")
			}
		}
		post(t, d, d.Token, "/nodes/n2/freeze") // TERM must reach it all the same
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	if len(published) != 3 || published[2] != Host {
		t.Errorf("published %v", published)
	}
	var line description
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("--json prints %q: %v", &out, err)
	}
	last := readFile(t, o.Dir)
	for _, n := range last.Nodes {
		if n.PID != 0 || n.State != stopped {
			t.Errorf("after the end: %+v", n)
		}
	}

	t.Run("kept folder", func(t *testing.T) {
		o := o
		o.Nodes = 3
		if err := Run(t.Context(), o); cli.Classify(err).Exit != cli.BadInput || !strings.Contains(err.Error(), "holds a cluster of 2 nodes") {
			t.Errorf("another number of nodes: %v", err)
		}
		o.Nodes, o.JSON, o.Publish, o.RunFor = 2, false, nil, time.Millisecond
		out.Reset()
		if err := Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, o.Dir); got.Token != d.Token {
			t.Error("a kept folder has another token")
		}
		for _, want := range []string{d.Site, "kill -9 ", "--cluster " + o.Dir + "/demo.json status", "/nodes/n1/crash"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the text does not show %q:\n%s", want, &out)
			}
		}
	})
}

func TestNodeThatDoesNotStart(t *testing.T) {
	o := testOptions(io.Discard)
	o.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.Dir, "die-n2"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), o)
	if cli.Classify(err).Exit != cli.InUse || !strings.Contains(err.Error(), "n2") || !strings.Contains(err.Error(), "the data folder is in use") {
		t.Errorf("Run = %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	o := testOptions(io.Discard)
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.1.2:%d", o.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	err = Run(t.Context(), o)
	if cli.Classify(err).Exit != cli.InUse || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("Run = %v", err)
	}
}

func TestUnknownPreset(t *testing.T) {
	o := testOptions(io.Discard)
	o.Preset = "slow"
	if err := Run(t.Context(), o); cli.Classify(err).Exit != cli.BadInput || !strings.Contains(err.Error(), "cluster.preset") {
		t.Errorf("an unknown preset: %v", err)
	}
}

// A demo that is killed takes its nodes with it, running or frozen.
func TestNoChildOutlivesAKilledDemo(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "whole-demo", dir)
	var log lockedBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := eventually(t, dir, "ready", func(description) bool { return true })
	post(t, d, d.Token, "/nodes/n2/freeze")

	other := testOptions(io.Discard)
	other.Dir = dir
	if err := Run(t.Context(), other); cli.Classify(err).Exit != cli.InUse || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second demo in the folder: %v", err)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the killed demo: %v %s", err, &log)
	}
	for end := time.Now().Add(10 * time.Second); !dead(d.Nodes[0].PID) || !dead(d.Nodes[1].PID); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a node lives on")
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}
