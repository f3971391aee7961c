package contract

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
listen = "127.0.0.1:%s"
[web]
listen = ["127.0.0.1:%s"]
[admin]
listen = "127.0.0.1:%s"
token_file = "k"
`

func writeNode(t *testing.T, ports []string) (path string) {
	t.Helper()
	dir := t.TempDir()
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if err := os.WriteFile(filepath.Join(dir, "k"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "node.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, nodeFile, ports[0], ports[1], ports[2]), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// "snow and rainvideo: run --config FILE, check FILE, config, version [--json].
// All that print take --json; results go to stdout, all else to stderr."
func TestNodePrograms(t *testing.T) {
	good := writeNode(t, freePorts(t, 3))
	bad := filepath.Join(filepath.Dir(good), "bad.toml")
	if err := os.WriteFile(bad, []byte("[node]\nname = 3\ncolour = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"snow", "rainvideo"} {
		object(t, want(t, 0, name, "version", "--json").stdout)
		if out := want(t, 0, name, "version").stdout; !strings.HasPrefix(out, name+" ") {
			t.Errorf("version prints %q", out)
		}
		reference := want(t, 0, name, "config").stdout
		for _, key := range []string{"drain_timeout", "key_file", "preset", "[[link]]", "[[peer]]", "node_header", "token_file", "reserve_bytes", "[fault]", "[[vip.pool]]"} {
			if !strings.Contains(reference, key) {
				t.Errorf("%s config does not show %s", name, key)
			}
		}
		object(t, want(t, 0, name, "config", "--json").stdout)
		want(t, 0, name, "check", good)
		object(t, want(t, 0, name, "check", "--json", good).stdout)

		r := want(t, 3, name, "check", bad)
		for _, line := range []string{bad + ":2: node.name: ", bad + ":3: node.colour: ", ": node.id: missing"} {
			if !strings.Contains(r.stderr, line) {
				t.Errorf("check does not say %q: %s", line, r.stderr)
			}
		}
		if r.stdout != "" {
			t.Errorf("a failure prints to stdout: %s", r.stdout)
		}
		m := object(t, want(t, 3, name, "check", "--json", bad).stdout)
		shape(t, "failure", sample(t, `{"error":{"code":"?","text":"?","hint":"?"}}`), m)
		want(t, 3, name, "run", "--config", bad)
		want(t, 2, name, "run")
		want(t, 2, name, "fly")
	}
	want(t, 2, "snow", "demo")
	want(t, 2, "rainvideo", "demo", "--nodes", "17")
	want(t, 2, "rainvideo", "demo", "--nodes", "0")
}

// "8 address, port or data folder in use"
func TestAddressInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	p := freePorts(t, 3)
	for i, which := range []string{"ring", "web", "admin"} {
		ports := append([]string(nil), p...)
		ports[i] = port
		r := want(t, 8, "snow", "run", "--config", writeNode(t, ports))
		if !strings.Contains(r.stderr, ln.Addr().String()) {
			t.Errorf("%s address in use: the error does not name %s: %s", which, ln.Addr(), r.stderr)
		}
	}
}

// rainctl without a cluster: 2 wrong usage, 3 bad input, 5 nobody in reach.
func TestRainctlAlone(t *testing.T) {
	object(t, want(t, 0, "rainctl", "version", "--json").stdout)
	want(t, 2, "rainctl", "fly")
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, 3, "rainctl", "--cluster", bad, "status")
	nobody := "http://127.0.0.1:" + freePorts(t, 1)[0]
	want(t, 5, "rainctl", "--admin", nobody, "--timeout", "2s", "status")
	m := object(t, want(t, 5, "rainctl", "--admin", nobody, "--timeout", "2s", "--json", "status").stdout)
	shape(t, "failure", sample(t, `{"error":{"code":"?","text":"?","hint":"?"}}`), m)

	key := filepath.Join(dir, "key")
	want(t, 0, "rainctl", "key", "new", key)
	raw, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw))); err != nil || len(k) != 32 {
		t.Errorf("key new: %d bytes, %v", len(k), err)
	}
}
