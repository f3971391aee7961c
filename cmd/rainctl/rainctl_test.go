package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/cmd/internal/client"
	"rain/snow/admin"
)

// TestMain lets a test run this binary as rainctl, to see true exit codes.
func TestMain(m *testing.M) {
	if os.Getenv("BE_RAINCTL") == "1" {
		main()
	}
	os.Exit(m.Run())
}

type result struct {
	code        int
	out, errOut string
}

// ctl runs rainctl in this process.
func ctl(t *testing.T, stdin string, env map[string]string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(t.Context(), args, &world{strings.NewReader(stdin), &out, &errOut, func(k string) string { return env[k] }})
	return result{code, out.String(), errOut.String()}
}

// fakeNode answers a few paths and fails all others with the status in their
// last element, such as /api/v1/objects/b/412.
func fakeNode(t *testing.T) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case r.URL.Path == "/readyz":
		case r.Header.Get("Authorization") != "Bearer tok":
			w.WriteHeader(401)
		case r.URL.Path == "/api/v1/status":
			two := 2
			_ = json.NewEncoder(w).Encode(admin.Status{API: 1, Node: "n1", Cluster: "c", Health: "degraded", Sentence: "One of three nodes is down.",
				Members:   []admin.Member{{Name: "n1", State: "up"}, {Name: "evil\x1b[31m", State: "down"}},
				VIPs:      []admin.VIP{{Addr: "127.0.1.1", Holder: "n1", GapMS: 131}},
				Tolerance: admin.Tolerance{Data: &two, SafeToLose: []string{"n1"}}})
		case r.URL.Path == "/api/v1/objects/b/good" && r.Method == "GET":
			_, _ = io.WriteString(w, `{"api":1,"bucket":"b","key":"good","etag":"\"e\"","size_bytes":3}`)
		default:
			code := 500
			_, _ = fmt.Sscan(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], &code)
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"api":1,"error":{"code":"c%d","text":"t","hint":"h"}}`, code)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestExitCodes(t *testing.T) {
	url := fakeNode(t)
	const dead = "http://127.0.0.1:1" // no test listens there, as it might on a port that was free a moment ago
	env := map[string]string{"RAIN_ADMIN": url, "RAIN_TOKEN": "tok"}
	existing := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(existing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want int
		args string
	}{
		{0, "status"}, {0, "links"}, {0, "version"}, {0, "stat b/good"}, {0, "--help"}, {0, "watch --help"},
		{10, "status --check"},
		{2, ""}, {2, "nonsense"}, {2, "stat"}, {2, "stat nokey"}, {2, "--timeout -1s status"}, {2, "status --frobnicate"},
		{2, "put - b/k --if-match a --if-absent"}, {2, "watch ftp://x/"}, {2, "fault cut n1 n1"}, {2, "bucket create b --code 2,3"}, {3, "bucket create 422 --code 6,4"}, {2, "layout replace n1"}, {6, "bucket create 412 --min-survives 2"},
		{3, "--cluster /nonexistent/demo.json status"}, {3, "rm b/400"}, {3, "rm b/422"}, {3, "put /nonexistent/file b/k"},
		{4, "stat b/404"}, {4, "node drain n9"}, {4, "--get vips.3.holder status"},
		{5, "rm b/503"}, {5, "--admin " + dead + " status"},
		{6, "rm b/412"}, {6, "rm b/409"}, {6, "key new " + existing},
		{7, "rm b/403"},
		{9, "put - b/507"},
		{1, "rm b/500"},
	} {
		if got := ctl(t, "x", env, strings.Fields(c.args)...); got.code != c.want {
			t.Errorf("rainctl %s = %d, want %d (%s%s)", c.args, got.code, c.want, got.out, got.errOut)
		}
	}
	if got := ctl(t, "", map[string]string{"RAIN_ADMIN": url, "RAIN_TOKEN": "bad"}, "status"); got.code != 7 {
		t.Errorf("wrong token: %d, want 7", got.code)
	}
	if got := ctl(t, "", nil, "status"); got.code != 2 {
		t.Errorf("no address: %d, want 2", got.code)
	}
}

func TestFailureInJSON(t *testing.T) {
	env := map[string]string{"RAIN_ADMIN": fakeNode(t), "RAIN_TOKEN": "tok"}
	for _, args := range []string{"--json rm b/412", "rm b/412 --json"} {
		got := ctl(t, "", env, strings.Fields(args)...)
		var v struct {
			API   int
			Error struct{ Code, Text, Hint string }
		}
		if err := json.Unmarshal([]byte(got.out), &v); err != nil || v.API != 1 || v.Error.Code != "c412" || v.Error.Hint != "h" {
			t.Errorf("%s printed %q (%v)", args, got.out, err)
		}
	}
	if got := ctl(t, "", env, "frobnicate", "--json"); got.code != 2 || !strings.HasPrefix(got.out, `{"api":1,"error"`) {
		t.Errorf("wrong usage with --json: %d %q", got.code, got.out)
	}
}

func TestStatusText(t *testing.T) {
	env := map[string]string{"RAIN_ADMIN": fakeNode(t), "RAIN_TOKEN": "tok"}
	got := ctl(t, "", env, "status")
	for _, want := range []string{"DEGRADED: One of three nodes is down.", "safe to lose: any one of n1", "every object survives the loss of 2", "131 ms"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("status does not say %q:\n%s", want, got.out)
		}
	}
	if strings.Contains(got.out, "\x1b") {
		t.Error("a node's name can steer the terminal")
	}
	for path, want := range map[string]string{"vips.0.holder": "n1\n", "members.#": "2\n", "tolerance.data": "2\n", "vips.[addr=127.0.1.1].gap_ms": "131\n"} {
		if got := ctl(t, "", env, "status", "--get", path); got.out != want {
			t.Errorf("--get %s = %q, want %q", path, got.out, want)
		}
	}
}

func TestClusterBeatsEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demo.json")
	text := fmt.Sprintf(`{"api":1,"token":"tok","nodes":[{"name":"n1","admin":%q}]}`, fakeNode(t))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ctl(t, "", map[string]string{"RAIN_ADMIN": "http://127.0.0.1:1", "RAIN_TOKEN": "old"}, "--cluster", file, "status"); got.code != 0 {
		t.Errorf("--cluster: %d %s", got.code, got.errOut)
	}
	if got := ctl(t, "", map[string]string{"RAIN_CLUSTER": file}, "status"); got.code != 0 {
		t.Errorf("RAIN_CLUSTER: %d %s", got.code, got.errOut)
	}
	if got := ctl(t, "", nil, "--cluster", file, "cluster", "--get", "nodes.[name=n1].name"); got.out != "n1\n" {
		t.Errorf("cluster --get = %q %s", got.out, got.errOut)
	}
}

func TestKeyNew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if got := ctl(t, "", nil, "key", "new", file); got.code != 0 {
		t.Fatalf("key new = %d %s", got.code, got.errOut)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b))); err != nil || len(raw) != 32 {
		t.Errorf("the key file holds %q", b)
	}
}

func TestBinaryExitCode(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for want, args := range map[int][]string{0: {"version", "--json"}, 2: {"nonsense"}, 3: {"--cluster", "/nonexistent", "status"}} {
		cmd := exec.CommandContext(t.Context(), self, args...)
		cmd.Env = append(os.Environ(), "BE_RAINCTL=1")
		err := cmd.Run()
		code := 0
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			code = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != want {
			t.Errorf("rainctl %v = %d, want %d", args, code, want)
		}
	}
}

func TestExitsMap(t *testing.T) {
	err := translate(fmt.Errorf("wrapped: %w", &client.Error{Status: 404, ErrorBody: admin.ErrorBody{Code: "x", Text: "y"}}))
	if err == nil || !strings.Contains(err.Error(), "wrapped") {
		t.Errorf("translate = %v", err)
	}
}

func TestTally(t *testing.T) {
	s := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	var a tally
	a.success(s(0), s(0.5), "n1")
	a.success(s(0.5), s(1), "n1")
	a.failure(s(1.5), "connect: refused")
	a.success(s(1), s(3), "n2") // 2 s after the last success
	a.end(s(4))
	if a.ok != 3 || a.failed != 1 || a.longest != s(2) || a.longestFrom != s(1) || a.nodes["n1"] != 2 || a.reasons["connect: refused"] != 1 {
		t.Errorf("tally %+v", a)
	}
	var never tally
	never.end(s(7))
	if never.longest != s(7) {
		t.Errorf("without any success the gap is the whole time, got %v", never.longest)
	}
	var tail tally
	tail.success(0, s(1), "")
	tail.end(s(6))
	if tail.longest != s(5) {
		t.Errorf("the gap at the end counts: %v", tail.longest)
	}
	for i := range 1000 {
		count(&a.nodes, fmt.Sprint("x", i))
	}
	if len(a.nodes) > maxNames+1 {
		t.Errorf("%d names are kept", len(a.nodes))
	}
}

// The site refuses for a while, then is back: what fails is counted, nothing is
// asked twice.
func TestWatchCounts(t *testing.T) {
	var mu sync.Mutex
	asked, refused := 0, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		w.Header().Set("X-Rain-Node", "n1")
		switch {
		case asked > 10 && asked <= 20:
			refused++
			w.WriteHeader(503)
		case asked > 20 && asked <= 25:
			refused++
			w.Header().Set("Content-Length", "100") // and cut
		}
		_, _ = io.WriteString(w, "page")
	}))
	defer s.Close()
	got := ctl(t, "", nil, "watch", s.URL, "--every", "2ms", "--for", "300ms", "--json")
	var v watchAnswer
	if err := json.Unmarshal([]byte(got.out), &v); err != nil || got.code != 0 {
		t.Fatalf("watch = %d %s %s", got.code, got.out, got.errOut)
	}
	if v.OK+v.Failed != asked || v.Failed != refused || v.Nodes["n1"] != v.OK {
		t.Errorf("server: %d asked, %d refused; watch: %+v", asked, refused, v)
	}
	if asked > 25 && (v.Reasons["status 503"] != 10 || v.Reasons["body: closed early"] != 5) {
		t.Errorf("reasons %v", v.Reasons)
	}
}

func TestWatchOtherBodyAndNobody(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page") }))
	got := ctl(t, "", nil, "watch", s.URL, "--for", "30ms", "--sha256", strings.Repeat("0", 64), "--get", "ok")
	if got.code != 5 || got.out != "0\n" {
		t.Errorf("another body: %d %q", got.code, got.out)
	}
	s.Close()
	got = ctl(t, "", nil, "watch", s.URL, "--for", "30ms", "--json")
	if got.code != 5 || !strings.Contains(got.out, "connect: refused") {
		t.Errorf("nobody there: %d %q", got.code, got.out)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("a.0.[x=1].#")
	f.Add("[")
	f.Fuzz(func(t *testing.T, path string) {
		tree := map[string]any{"a": []any{map[string]any{"x": json.Number("1")}}, "": "s"}
		_, _ = lookup(tree, path) // must end and not panic
	})
}
