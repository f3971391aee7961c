package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for a real cluster on a loaded machine.
const patience = 60 * time.Second

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rain-contract-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "rain/cmd/snow", "rain/cmd/rainvideo", "rain/cmd/rainctl")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := build(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// program is the path of a program that was built once for all tests.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatalf("build the programs: %v", err)
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// result is what a program left.
type result struct {
	code           int
	stdout, stderr string
}

// call runs a program to its end.
func call(t *testing.T, name string, args ...string) result {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "RAIN_") })
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// want calls a program and checks its exit code.
func want(t *testing.T, code int, name string, args ...string) result {
	t.Helper()
	r := call(t, name, args...)
	if r.code != code {
		t.Errorf("%s %s: exit code %d, want %d\nstdout: %s\nstderr: %s", name, strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// object decodes one line of JSON and checks its "api".
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("not JSON: %v: %s", err, text)
	}
	if m["api"] != 1.0 {
		t.Errorf(`no "api":1 at the top of %s`, text)
	}
	return m
}

// shape checks that got has every key of the contract's sample, of the same type.
// In the sample "a|b" lists the words allowed, "..." is a time, "?" any text,
// "?0" a number or null. A list shows its element; an empty list passes.
func shape(t *testing.T, at string, sample, got any) {
	t.Helper()
	if sample == "?0" {
		if _, isNumber := got.(float64); !isNumber && got != nil {
			t.Errorf("%s is %v, neither a number nor null", at, got)
		}
		return
	}
	if reflect.TypeOf(sample) != reflect.TypeOf(got) {
		t.Errorf("%s is %#v, the contract's sample has %#v", at, got, sample)
		return
	}
	switch s := sample.(type) {
	case map[string]any:
		for key, v := range s {
			g, ok := got.(map[string]any)[key]
			if !ok {
				t.Errorf("%s.%s is missing", at, key)
				continue
			}
			shape(t, at+"."+key, v, g)
		}
	case []any:
		for i, g := range got.([]any) {
			shape(t, fmt.Sprintf("%s[%d]", at, i), s[0], g)
		}
	case string:
		g := got.(string)
		if s == "..." {
			if _, err := time.Parse(time.RFC3339, g); err != nil {
				t.Errorf("%s is %q, no RFC 3339 time", at, g)
			}
		} else if strings.Contains(s, "|") && !slices.Contains(strings.Split(s, "|"), g) {
			t.Errorf("%s is %q, allowed: %s", at, g, s)
		}
	}
}

func sample(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("the sample itself: %v", err)
	}
	return m
}

// cluster is a running demo.
type cluster struct {
	cmd     *exec.Cmd
	dir     string
	stderr  *bytes.Buffer
	exited  chan struct{}
	line    string // what --json printed
	Token   string
	Host    string
	Site    string
	Control string
	VIPs    []string
	Nodes   []clusterNode
}

type clusterNode struct {
	Name, HTTP, Admin, Data, Log, State string
	PID                                 int
	GuardPID                            int `json:"guard_pid"`
	Argv                                []string
}

// freePorts are n ports that were free on 127.0.0.1 a moment ago.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

// startDemo runs a demo until the end of the test, and waits until it is ready.
func startDemo(t *testing.T, args ...string) *cluster {
	t.Helper()
	if runtime.GOOS != "linux" {
		fmt.Printf("skipped contract/demo: the loopback driver needs Linux\n")
		t.Skip("the loopback driver needs Linux")
	}
	p := freePorts(t, 3)
	c := &cluster{dir: filepath.Join(t.TempDir(), "d"), stderr: &bytes.Buffer{}, exited: make(chan struct{})}
	all := append([]string{"demo", "--json", "--dir", c.dir, "--port", p[0], "--admin-port", p[1], "--ring-port", p[2]}, args...)
	c.cmd = exec.Command(program(t, "rainvideo"), all...)
	c.cmd.Stderr = c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := make(chan string, 1)
	go func() {
		raw := make([]byte, 0, 1<<16)
		buf := make([]byte, 1<<14)
		sent := false
		for {
			n, err := out.Read(buf)
			raw = append(raw, buf[:n]...)
			if !sent && (bytes.IndexByte(raw, '\n') >= 0 || err != nil) {
				text <- string(raw)
				sent = true
			}
			if err != nil {
				break
			}
		}
		_ = c.cmd.Wait() // the code is in ProcessState
		close(c.exited)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.exited:
		case <-time.After(patience):
			_ = c.cmd.Process.Kill()
			<-c.exited
			t.Error("the demo did not end by TERM")
		}
		if t.Failed() {
			for _, n := range c.Nodes {
				raw, _ := os.ReadFile(n.Log)
				t.Logf("end of %s:\n%s", n.Log, raw[max(0, len(raw)-3000):])
			}
			t.Logf("stderr of the demo: %s", c.stderr)
		}
	})
	select {
	case c.line = <-text:
	case <-time.After(2 * patience):
		t.Fatal("the demo is not ready")
	}
	if err := json.Unmarshal([]byte(c.line), c); err != nil {
		<-c.exited
		t.Fatalf("the demo printed %q: %v; code %d, stderr %s", c.line, err, c.cmd.ProcessState.ExitCode(), c.stderr)
	}
	return c
}

func (c *cluster) file() string { return filepath.Join(c.dir, "demo.json") }

// read takes the state of the nodes from demo.json.
func (c *cluster) read(t *testing.T) {
	t.Helper()
	raw, err := os.ReadFile(c.file())
	if err == nil {
		c.Nodes = nil
		err = json.Unmarshal(raw, c)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks until ok says nothing.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// state waits until demo.json shows a node in a state.
func (c *cluster) state(t *testing.T, node int, state string) {
	t.Helper()
	eventually(t, fmt.Sprintf("n%d %s", node, state), func() error {
		if c.read(t); c.Nodes[node-1].State != state {
			return fmt.Errorf("it is %s", c.Nodes[node-1].State)
		}
		return nil
	})
}

// control gives the demo an order.
func (c *cluster) control(t *testing.T, order string) int {
	t.Helper()
	a, err := c.try("POST", c.Control+"/nodes/"+order, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	object(t, a.body)
	return a.code
}

type answer struct {
	code   int
	header http.Header
	body   string
}

var web = &http.Client{
	Timeout:       10 * time.Second,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// try sends a request with the token, unless the header has an Authorization.
func (c *cluster) try(method, url string, body io.Reader, header map[string]string) (answer, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	for k, v := range header {
		if v == "" {
			req.Header.Del(k)
		} else if k == "Host" {
			req.Host = v
		} else {
			req.Header.Set(k, v)
		}
	}
	res, err := web.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(raw)}, err
}

func (c *cluster) do(t *testing.T, method, url, body string, header map[string]string) answer {
	t.Helper()
	a, err := c.try(method, url, strings.NewReader(body), header)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

// healthy waits until every node sees the whole cluster well, and the VIPs answer.
func (c *cluster) healthy(t *testing.T) {
	t.Helper()
	eventually(t, "a healthy cluster", func() error {
		for _, n := range c.Nodes {
			a, err := c.try("GET", n.Admin+"/api/v1/status", nil, nil)
			if err != nil {
				return err
			}
			var s struct {
				Health, Sentence string
				Members          []struct{ State string }
				VIPs             []struct{ Holder string }
			}
			if err := json.Unmarshal([]byte(a.body), &s); err != nil {
				return err
			}
			up := 0
			for _, m := range s.Members {
				if m.State == "up" {
					up++
				}
			}
			held := 0
			for _, v := range s.VIPs {
				if v.Holder != "" {
					held++
				}
			}
			if up != len(c.Nodes) || held != len(c.VIPs) || s.Health != "ok" {
				return fmt.Errorf("%s sees %d of %d up, %d of %d VIPs held: %s", n.Name, up, len(c.Nodes), held, len(c.VIPs), s.Sentence)
			}
		}
		for _, v := range c.VIPs {
			if _, err := c.try("GET", "http://"+v+"/", nil, map[string]string{"Authorization": ""}); err != nil {
				return err
			}
		}
		return nil
	})
}
