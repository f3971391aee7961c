package program

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rain/conf"
)

const nodeFile = `[node]
name = "n1"
id = "0.1.0.1"
[cluster]
name = "c"
key_file = "k"
founders = ["0.1.0.1"]
[[link]]
name = "a"
listen = "127.0.0.1:7400"
[admin]
token_file = "k"
`

// lockedBuffer may be read while a node writes its log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func setUp(t *testing.T, text string) (path string, env *Env, out *bytes.Buffer, errs *lockedBuffer) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "node.toml")
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "k"), []byte(key), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, errs = &bytes.Buffer{}, &lockedBuffer{}
	env = &Env{
		Name: "snow", Stdin: strings.NewReader(""), Stdout: out, Stderr: errs, Getenv: func(string) string { return "" },
		Exit:    func(code int) { t.Errorf("Exit(%d)", code) },
		RunNode: func(context.Context, *conf.File, *slog.Logger, <-chan struct{}) error { return nil },
	}
	return path, env, out, errs
}

func run(env *Env, args ...string) int {
	return Main(env, "A test.", &struct{ Commands }{}, args)
}

func TestCommands(t *testing.T) {
	path, env, out, errs := setUp(t, nodeFile)
	bad := filepath.Join(filepath.Dir(path), "bad.toml")
	if err := os.WriteFile(bad, []byte(strings.Replace(nodeFile, "n1", "N1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"check", path}, 0, "ok: node n1 (0.1.0.1) of cluster c", ""},
		{[]string{"check", "--json", path}, 0, `{"api":1,"file":`, ""},
		{[]string{"check", bad}, 3, "", "bad.toml:2: node.name: "},
		{[]string{"check", bad, "--json"}, 3, `{"api":1,"error":{"code":"bad_config"`, ""},
		{[]string{"check", path + "x"}, 3, "", "node.tomlx:1: "},
		{[]string{"run", "--config", bad}, 3, "", "bad.toml:2: node.name: "},
		{[]string{"run"}, 2, "", "--config"},
		{[]string{"run", "--json"}, 2, `{"api":1,"error":{"code":"usage"`, ""},
		{[]string{"fly"}, 2, "", "fly"},
		{[]string{}, 2, "", "run"},
		{[]string{"config"}, 0, "drain_timeout", ""},
		{[]string{"config", "--json"}, 0, `{"api":1,"reference":`, ""},
		{[]string{"version"}, 0, "snow ", ""},
		{[]string{"version", "--json"}, 0, `{"api":1,"program":"snow"`, ""},
		{[]string{"--help"}, 0, "Exit codes: 0 done", ""},
		{[]string{"run", "--help"}, 0, "--config", ""},
		{[]string{"run", "--config", path}, 0, "", "node stopped"},
	} {
		out.Reset()
		*errs = lockedBuffer{}
		if got := run(env, c.args...); got != c.code {
			t.Errorf("%q: code %d, want %d; stderr %s", c.args, got, c.code, errs)
		}
		if !strings.Contains(out.String(), c.stdout) || !strings.Contains(errs.String(), c.stderr) {
			t.Errorf("%q: stdout %q, stderr %q; want %q and %q", c.args, out, errs, c.stdout, c.stderr)
		}
		if c.code != 0 && c.stdout == "" && out.Len() > 0 {
			t.Errorf("%q fails and prints to stdout: %q", c.args, out)
		}
		if strings.HasPrefix(c.stdout, "{") && (!json.Valid(out.Bytes()) || strings.Count(out.String(), "\n") != 1) {
			t.Errorf("%q does not print one line of JSON: %q", c.args, out)
		}
	}
}

func signalSelf(t *testing.T, sig syscall.Signal) {
	t.Helper()
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Signal(sig)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot signal itself on Windows")
	}
	path, env, _, errs := setUp(t, nodeFile)
	started, draining, exits := make(chan struct{}), make(chan error, 1), make(chan int, 1)
	end := make(chan struct{})
	env.Exit = func(code int) { exits <- code; close(end) }
	env.RunNode = func(ctx context.Context, f *conf.File, log *slog.Logger, _ <-chan struct{}) error {
		close(started)
		<-ctx.Done()
		draining <- context.Cause(ctx)
		<-end
		log.Debug("last words")
		return ctx.Err()
	}
	code := make(chan int, 1)
	go func() { code <- run(env, "run", "--config", path) }()
	<-started

	if err := os.WriteFile(path, []byte(nodeFile+"[log]\nlevel = \"debug\"\n[web]\nvip_port = 81\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	signalSelf(t, syscall.SIGHUP)
	waitFor(t, "the restart warning", func() bool { return strings.Contains(errs.String(), "key=web.vip_port running=8080 file=81") })
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	signalSelf(t, syscall.SIGHUP)
	waitFor(t, "the fault", func() bool { return strings.Contains(errs.String(), "the node goes on with the old one") })

	signalSelf(t, syscall.SIGTERM)
	if cause := <-draining; !errors.Is(cause, ErrSignal) {
		t.Errorf("cause %v", cause)
	}
	signalSelf(t, syscall.SIGINT)
	if got := <-exits; got != 1 {
		t.Errorf("a second signal exits with %d", got)
	}
	if got := <-code; got != 0 {
		t.Errorf("a drained node exits with %d: %s", got, errs)
	}
	if !strings.Contains(errs.String(), "last words") {
		t.Error("the level from the reread file is not in force")
	}
}

func TestParentPipe(t *testing.T) {
	path, env, _, errs := setUp(t, nodeFile)
	env.Getenv = func(name string) string { return map[string]string{ParentPipe: "1"}[name] } // and stdin is at its end
	env.RunNode = func(ctx context.Context, _ *conf.File, _ *slog.Logger, _ <-chan struct{}) error {
		<-ctx.Done()
		return nil
	}
	if got := run(env, "run", "--config", path); got != 0 {
		t.Errorf("code %d: %s", got, errs)
	}
}

func TestNodeErrorIsReported(t *testing.T) {
	path, env, out, _ := setUp(t, nodeFile)
	env.RunNode = func(context.Context, *conf.File, *slog.Logger, <-chan struct{}) error {
		return fmt.Errorf("listen: %w", syscall.EADDRINUSE)
	}
	if got := run(env, "run", "--json", "--config", path); got != 8 || !strings.Contains(out.String(), `"code":"in_use","text":"node n1: listen: `) {
		t.Errorf("code %d, %s", got, out)
	}
}
