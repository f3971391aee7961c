//go:build unix

package contract

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const demoSample = `{"api":1,"pid":100,"dir":"D","token":"T","host":"demo.rain","site":"S","player":"P","control":"C","hls":"H","mp4":"M","vips":["V"],
 "nodes":[{"name":"n1","id":"0.1.0.1","pid":101,"guard_pid":102,"http":"H","admin":"A","ring":["R"],
           "argv":["rainvideo"],"data":"D","log":"L","state":"running|frozen|stopped|crashed"}]}`

const statusSample = `{"api":1,"node":"n1","cluster":"demo","health":"ok|degraded|critical","sentence":"?","ring":{"state":"member|joining|isolated","primary":true,"epoch":3,"view":7,"seq":991,"quorum_need":3,
  "lease_left_ms":83,"rotations_per_s":97.2,"hop_p50_us":60,"hop_p99_us":300,"regenerations":2},"members":[{"name":"n1","id":"0.1.0.1","incarnation":5,"state":"up|draining|down","since":"..."}],
 "links":[{"a":"n1","b":"n2","link":"a-a","state":"up|down","rtt_us":70,"loss":0.0,"transitions":4,"since":"..."}],
 "vips":[{"addr":"127.0.1.1","pool":"web","holder":"n2","since":"...","moves":3,"cause":"crash n1","gap_ms":131}],
 "queue":{"length":1,"claimed":4,"orphaned":3,"replayed":9,"entries":[{"id":"?","client":"?","method":"GET","host":"?","path":"/x","node":"n2","offset":0,"state":"running|claimed|done|orphaned","since":"..."}]},
 "streams":[{"session":"?","film":"demo","node":"n2","position_s":12.4,"sent_bytes":99,"since":"..."}],
 "store":{"objects":12,"stored_bytes":99,"missing_symbols":0,"repair_eta_s":0,"disk":"ok|reserve|full|failed"},"tolerance":{"ring":1,"data":"?0","safe_to_lose":["n1"]},"warnings":[{"code":"?","text":"?"}]}`

// later are the names of the contract that a coming release brings.
var later = map[string]string{
	"rain_queue_length":         "the request queue comes with a later release",
	"rain_queue_claimed_total":  "the request queue comes with a later release",
	"rain_queue_orphaned_total": "the request queue comes with a later release",
	"rain_streams":              "streams come with a later release",
	"rain_takeover_total":       "take-over of connections comes with a later release",
	"/guestbook":                "requests with an effect come with a later release",
}

// TestDemo looks at one demo in an order: first what is true at rest, then the
// faults, then the end.
func TestDemo(t *testing.T) {
	c := startDemo(t)
	for name, why := range later {
		fmt.Printf("skipped contract/%s: %s\n", strings.ReplaceAll(name, " ", "_"), why)
	}
	t.Run("demo.json", c.testFile)
	t.Run("health", c.testHealth)
	t.Run("status", c.testStatus)
	t.Run("metrics", c.testMetrics)
	t.Run("site", c.testSite)
	t.Run("objects", c.testObjects)
	t.Run("rainctl", c.testRainctl)
	t.Run("second demo", c.testSecond)
	t.Run("crash and start", c.testCrash)
	t.Run("isolated", c.testIsolated)
	t.Run("TERM of a node", c.testTerm)
	t.Run("TERM of the demo", c.testEnd)
}

func (c *cluster) testFile(t *testing.T) {
	m := object(t, c.line)
	shape(t, "demo", sample(t, demoSample), m)
	if strings.Count(c.line, "\n") != 1 {
		t.Errorf("--json prints %q", c.line)
	}
	raw, err := os.ReadFile(c.file())
	if err != nil {
		t.Fatal(err)
	}
	shape(t, "demo.json", sample(t, demoSample), object(t, string(raw)))
	if st, err := os.Stat(c.file()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("demo.json holds the token: %v %v", st.Mode(), err)
	}
	if len(c.Nodes) != 4 || len(c.VIPs) != 2 || c.Host != "demo.rain" || !strings.HasPrefix(c.Site, "http://127.0.1.1:") ||
		!strings.HasPrefix(c.VIPs[1], "127.0.1.2:") || !strings.HasPrefix(c.Control, "http://127.0.0.10:") {
		t.Errorf("demo.json: %s", c.line)
	}
	for i, n := range c.Nodes {
		ip := fmt.Sprintf("http://127.0.0.%d:", 11+i)
		if n.Name != fmt.Sprintf("n%d", i+1) || !strings.HasPrefix(n.HTTP, ip) || !strings.HasPrefix(n.Admin, ip) || n.State != "running" {
			t.Errorf("node %d: %+v", i+1, n)
		}
		if err := syscall.Kill(n.PID, 0); err != nil {
			t.Errorf("%s: pid %d: %v", n.Name, n.PID, err)
		}
	}
	eventually(t, "the guards in demo.json", func() error {
		c.read(t)
		for _, n := range c.Nodes {
			if n.GuardPID != 0 {
				return nil
			}
		}
		return errors.New("no guard_pid")
	})
}

func (c *cluster) testHealth(t *testing.T) {
	none := map[string]string{"Authorization": ""}
	for _, n := range c.Nodes {
		for path, code := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/api/v1/status": 401, "/api/v1/objects/b/k": 401} {
			if a := c.do(t, "GET", n.Admin+path, "", none); a.code != code {
				t.Errorf("%s %s without a token: %d, want %d: %.300s", n.Name, path, a.code, code, a.body)
			}
		}
	}
	if a := c.do(t, "GET", c.Nodes[0].Admin+"/api/v1/status", "", map[string]string{"Authorization": "Bearer " + c.Token + "x"}); a.code != 401 {
		t.Errorf("a wrong token: %d", a.code)
	}
}

func (c *cluster) testStatus(t *testing.T) {
	c.healthy(t)
	r := want(t, 0, "rainctl", "--cluster", c.file(), "--json", "status")
	shape(t, "rainctl status", sample(t, statusSample), object(t, r.stdout))
	for _, n := range c.Nodes {
		a := c.do(t, "GET", n.Admin+"/api/v1/status", "", nil)
		m := object(t, a.body)
		shape(t, "status", sample(t, statusSample), m)
		if m["node"] != n.Name || m["cluster"] != "demo" || m["health"] != "ok" || len(m["members"].([]any)) != 4 || len(m["vips"].([]any)) != 2 {
			t.Errorf("status of %s: %s", n.Name, a.body)
		}
	}
}

func (c *cluster) testMetrics(t *testing.T) {
	text := c.do(t, "GET", c.Nodes[0].Admin+"/metrics", "", nil).body
	for _, name := range []string{"rain_build_info", "rain_ring_primary", "rain_ring_members", "rain_ring_epoch", "rain_ring_rotations_total",
		"rain_ring_regenerations_total", "rain_ring_lease_lost_total", "rain_ring_hop_seconds", "rain_link_up", "rain_datagrams_dropped_total",
		"rain_vip_held", "rain_vip_moves_total", "rain_http_requests_total", "rain_http_request_seconds", "rain_queue_length", "rain_queue_claimed_total",
		"rain_queue_orphaned_total", "rain_streams", "rain_store_objects", "rain_store_missing_symbols", "rain_store_checksum_failures_total",
		"rain_store_repair_bytes_total", "rain_takeover_total"} {
		if later[name] != "" {
			continue
		}
		if !strings.Contains(text, "\n"+name) && !strings.HasPrefix(text, name) {
			t.Errorf("no metric %s", name)
		}
		if !strings.Contains(text, "# HELP "+name+" ") || !strings.Contains(text, "# TYPE "+name+" ") {
			t.Errorf("metric %s has no HELP and TYPE", name)
		}
	}
}

func (c *cluster) testSite(t *testing.T) {
	page := ""
	for _, url := range []string{c.Site, "http://" + c.VIPs[1] + "/", c.Nodes[0].HTTP + "/", c.Nodes[3].HTTP + "/"} {
		a := c.do(t, "GET", url, "", map[string]string{"Authorization": "", "Host": c.Host})
		if page == "" {
			page = a.body
		}
		node := a.header.Get("X-Rain-Node")
		if a.code != 200 || a.body != page || len(page) == 0 || len(node) != 2 || node[0] != 'n' || a.header.Get("X-Rain-State") != "" {
			t.Errorf("%s: %d, %d bytes, X-Rain-Node %q", url, a.code, len(a.body), node)
		}
	}
	if a := c.do(t, "GET", c.Site, "", map[string]string{"Host": "other.example"}); a.code != 200 || a.body != page {
		t.Errorf("the demo's site is not the default site: %d", a.code)
	}
}

// PUT|GET|HEAD|DELETE {admin}/api/v1/objects/B/KEY and their codes.
func (c *cluster) testObjects(t *testing.T) {
	base := c.Nodes[0].Admin + "/api/v1/objects/"
	other := c.Nodes[1].Admin + "/api/v1/objects/"
	etag := ""
	for _, s := range []struct {
		method, url, body string
		header            map[string]string
		code              int
		answer            string
	}{
		{"PUT", base + "box/k", "v", nil, 404, ""},
		{"PUT", base + "box", "", nil, 201, ""},
		{"PUT", base + "box", "", nil, 200, ""},
		{"PUT", base + "box/k", "hello", nil, 201, ""},
		{"GET", other + "box/k", "", nil, 200, "hello"},
		{"HEAD", other + "box/k", "", nil, 200, ""},
		{"PUT", base + "box/k", "hello, world", nil, 200, ""},
		{"GET", other + "box/k", "", map[string]string{"Range": "bytes=7-"}, 206, "world"},
		{"GET", other + "box/k", "", map[string]string{"Range": "bytes=70-"}, 416, ""},
		{"GET", other + "box/k", "", map[string]string{"If-None-Match": "ETAG"}, 304, ""},
		{"PUT", base + "box/k", "x", map[string]string{"If-Match": `"no"`}, 412, ""},
		{"PUT", base + "box/k", "x", map[string]string{"If-None-Match": "*"}, 412, ""},
		{"GET", base + "box/none", "", nil, 404, ""},
		{"GET", base + "box/k", "", map[string]string{"Authorization": ""}, 401, ""},
		{"GET", base + "box/k", "", map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+c.Token))}, 200, "hello, world"},
		{"DELETE", base + "box/k", "", nil, 204, ""},
		{"GET", other + "box/k", "", nil, 404, ""},
	} {
		if s.header["If-None-Match"] == "ETAG" {
			s.header["If-None-Match"] = etag
		}
		a := c.do(t, s.method, s.url, s.body, s.header)
		if a.code != s.code || s.answer != "" && a.body != s.answer {
			t.Errorf("%s %s %v: %d %.200q, want %d %q", s.method, s.url, s.header, a.code, a.body, s.code, s.answer)
		}
		if e := a.header.Get("ETag"); e != "" {
			etag = e
		}
		if a.code >= 400 && s.method != "HEAD" {
			shape(t, "failure", sample(t, `{"error":{"code":"?","text":"?"}}`), object(t, a.body))
		}
	}
	object(t, c.do(t, "GET", base+"box", "", nil).body)
}

func (c *cluster) testRainctl(t *testing.T) {
	ctl := func(code int, args ...string) result {
		return want(t, code, "rainctl", append([]string{"--cluster", c.file(), "--json"}, args...)...)
	}
	dir := t.TempDir()
	file := dir + "/f"
	content := strings.Repeat("rain", 50000)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, 0, "rainctl", "--cluster", c.file(), "status", "--check")
	ctl(0, "bucket", "create", "films")
	put := object(t, ctl(0, "put", file, "films/a").stdout)
	fields := `{"bucket":"films","key":"a","version":1,"etag":"?","sha256":"?","size_bytes":1,"n":1,"k":1,"stored":1,"survives":1}`
	shape(t, "put", sample(t, fields), put)
	if put["sha256"] != fmt.Sprintf("%x", sha256.Sum256([]byte(content))) || put["size_bytes"] != float64(len(content)) {
		t.Errorf("put: %v", put)
	}
	shape(t, "stat", sample(t, fields), object(t, ctl(0, "stat", "films/a").stdout))
	ctl(6, "put", file, "films/a", "--if-absent")
	ctl(6, "put", file, "films/a", "--if-match", `"no"`)
	want(t, 0, "rainctl", "--cluster", c.file(), "get", "films/a", dir+"/back")
	if raw, err := os.ReadFile(dir + "/back"); err != nil || string(raw) != content {
		t.Errorf("get: %d bytes, %v", len(raw), err)
	}
	if r := want(t, 0, "rainctl", "--cluster", c.file(), "get", "films/a", "-", "--range", "0-3"); r.stdout != "rain" {
		t.Errorf("get --range 0-3 prints %q", r.stdout)
	}
	coded := object(t, ctl(0, "bucket", "create", "coded", "--code", "3,1", "--min-survives", "2").stdout)
	if coded["n"] != 3.0 || coded["k"] != 1.0 || coded["min_survives"] != 2.0 {
		t.Errorf("bucket create --code 3,1: %v", coded)
	}
	if put := object(t, ctl(0, "put", file, "coded/a").stdout); put["n"] != 3.0 || put["k"] != 1.0 || put["survives"] != 2.0 {
		t.Errorf("put in a bucket with a code: %v", put)
	}
	ctl(3, "bucket", "create", "wide", "--code", "6,4") // four nodes
	ctl(6, "bucket", "create", "coded", "--code", "2,1")
	object(t, ctl(0, "bucket", "ls").stdout)
	object(t, ctl(0, "layout", "show").stdout)
	for _, verb := range [][]string{{"check"}, {"repair"}, {"gc"}, {"rewrite", "films"}} {
		if r := object(t, ctl(0, append([]string{"store"}, verb...)...).stdout); r["missing_symbols"] != 0.0 {
			t.Errorf("store %v: %v", verb, r)
		}
	}
	ctl(4, "stat", "films/none")
	object(t, ctl(0, "ls").stdout)
	object(t, ctl(0, "ls", "films").stdout)
	ctl(0, "rm", "films/a")
	ctl(4, "get", "films/a", "-")
	if err := os.WriteFile(dir+"/token", []byte("not-the-token-of-this-demo"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, 7, "rainctl", "--admin", c.Nodes[0].Admin, "--token-file", dir+"/token", "status")

	if err := os.Mkdir(dir+"/site", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/site/index.html", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	published := object(t, ctl(0, "site", "publish", dir+"/site", "new.example").stdout)
	shape(t, "site publish", sample(t, `{"host":"new.example","version":1,"files":1,"sent_bytes":3}`), published)
	if a := c.do(t, "GET", "http://"+c.VIPs[0]+"/", "", map[string]string{"Host": "new.example"}); a.body != "new" {
		t.Errorf("the new site: %d %q", a.code, a.body)
	}
	object(t, ctl(0, "site", "ls").stdout)
	ctl(0, "site", "rm", "new.example")
	object(t, ctl(0, "ring", "events").stdout)
	watch := object(t, ctl(0, "watch", c.Site, "--every", "20ms", "--for", "400ms").stdout)
	shape(t, "watch", sample(t, `{"ok":1,"failed":0,"longest_gap_ms":1}`), watch)
	if watch["failed"] != 0.0 || watch["ok"] == 0.0 {
		t.Errorf("watch of a cluster at rest: %v", watch)
	}
}

func (c *cluster) testSecond(t *testing.T) {
	port := c.VIPs[0][strings.LastIndex(c.VIPs[0], ":")+1:]
	p := freePorts(t, 2)
	r := want(t, 8, "rainvideo", "demo", "--json", "--port", port, "--admin-port", p[0], "--ring-port", p[1])
	shape(t, "failure", sample(t, `{"error":{"code":"in_use","text":"?","hint":"?"}}`), object(t, r.stdout))
	want(t, 8, "rainvideo", "demo", "--dir", c.dir, "--port", p[0], "--admin-port", p[1], "--ring-port", freePorts(t, 1)[0])
	// and the data folder of a node that runs, from other addresses
	raw, err := os.ReadFile(c.dir + "/n1/node.toml")
	if err != nil {
		t.Fatal(err)
	}
	free := freePorts(t, 1)[0]
	text := strings.NewReplacer("127.0.0.11:", "127.0.0.111:", "vip_port = "+port, "vip_port = "+free).Replace(string(raw))
	if err := os.WriteFile(c.dir+"/n1/second.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, 8, "rainvideo", "run", "--config", c.dir+"/n1/second.toml")
}

// A crash is SIGKILL of the node alone; the demo starts no node unasked.
func (c *cluster) testCrash(t *testing.T) {
	before := c.Nodes[1].PID
	for order, code := range map[string]int{"n2/fly": 404, "n9/crash": 404, "n2/start": 409} {
		if got := c.control(t, order); got != code {
			t.Errorf("%s: %d, want %d", order, got, code)
		}
	}
	if a, err := c.try("POST", c.Control+"/nodes/n2/crash", nil, map[string]string{"Authorization": ""}); err != nil || a.code != 401 {
		t.Errorf("an order without the token: %d, %v", a.code, err)
	}
	if got := c.control(t, "n2/crash"); got != 200 {
		t.Fatalf("crash: %d", got)
	}
	c.state(t, 2, "crashed")
	eventually(t, "every VIP answers with n2 dead", func() error {
		for _, v := range c.VIPs {
			a, err := c.try("GET", "http://"+v+"/", nil, map[string]string{"Authorization": "", "Host": c.Host})
			if err != nil {
				return err
			}
			if a.code != 200 || a.header.Get("X-Rain-Node") == "n2" {
				return fmt.Errorf("%d from %q", a.code, a.header.Get("X-Rain-Node"))
			}
		}
		return nil
	})
	eventually(t, "n1 to see n2 down", func() error {
		a := c.do(t, "GET", c.Nodes[0].Admin+"/api/v1/status", "", nil)
		if !strings.Contains(a.body, `"state":"down"`) {
			return errors.New(a.body)
		}
		return nil
	})
	r := call(t, "rainctl", "--cluster", c.file(), "status", "--check")
	if r.code != 10 && r.code != 11 {
		t.Errorf("status --check with a dead node: %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if got := c.control(t, "n2/start"); got != 200 {
		t.Fatalf("start: %d", got)
	}
	c.state(t, 2, "running")
	if c.Nodes[1].PID == before {
		t.Error("the same pid after crash and start")
	}
	c.healthy(t)
}

// Three of four frozen: the fourth has no quorum, says so and serves on its own
// address. Thawed, all come back.
func (c *cluster) testIsolated(t *testing.T) {
	for i := 2; i <= 4; i++ {
		c.control(t, fmt.Sprintf("n%d/freeze", i))
		c.state(t, i, "frozen")
	}
	one := c.Nodes[0]
	eventually(t, "n1 without quorum", func() error {
		if a := c.do(t, "GET", one.Admin+"/readyz", "", map[string]string{"Authorization": ""}); a.code != 503 || a.body == "" {
			return fmt.Errorf("readyz: %d %q", a.code, a.body)
		}
		return nil
	})
	if a := c.do(t, "GET", one.Admin+"/healthz", "", nil); a.code != 200 {
		t.Errorf("healthz: %d", a.code)
	}
	eventually(t, "n1 to mark what it serves", func() error {
		a := c.do(t, "GET", one.HTTP+"/", "", map[string]string{"Authorization": "", "Host": c.Host})
		if a.code != 200 || a.header.Get("X-Rain-State") != "isolated" {
			return fmt.Errorf("%d, X-Rain-State %q", a.code, a.header.Get("X-Rain-State"))
		}
		return nil
	})
	if a := c.do(t, "PUT", one.Admin+"/api/v1/objects/box/k", "x", nil); a.code != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a put without quorum: %d, Retry-After %q, %s", a.code, a.header.Get("Retry-After"), a.body)
	}
	for i := 2; i <= 4; i++ {
		c.control(t, fmt.Sprintf("n%d/thaw", i))
		c.state(t, i, "running")
	}
	c.healthy(t)
}

// "TERM or INT drains and exits 0": the demo calls a node that exited 0 stopped.
func (c *cluster) testTerm(t *testing.T) {
	if err := syscall.Kill(c.Nodes[2].PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of n3", func() error {
		if c.read(t); c.Nodes[2].State == "running" {
			return errors.New("it runs")
		}
		return nil
	})
	if s := c.Nodes[2].State; s != "stopped" {
		t.Errorf("a node that got TERM is %s: it did not exit with 0", s)
	}
	if a := c.do(t, "GET", c.Site, "", map[string]string{"Authorization": ""}); a.code != 200 {
		t.Errorf("the site after a drain: %d", a.code)
	}
}

// "TERM or INT stops all and exits 0; no child outlives the demo."
func (c *cluster) testEnd(t *testing.T) {
	c.control(t, "n4/freeze")
	c.read(t)
	var pids []int
	for _, n := range c.Nodes {
		for _, pid := range []int{n.PID, n.GuardPID} {
			if pid != 0 {
				pids = append(pids, pid)
			}
		}
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.exited:
	case <-time.After(patience):
		t.Fatal("the demo goes on")
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the demo exits with %d: %s", code, c.stderr)
	}
	for _, pid := range pids {
		raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if !errors.Is(err, fs.ErrNotExist) && !strings.Contains(string(raw), ") Z ") {
			t.Errorf("process %d outlives the demo: %s", pid, raw)
		}
	}
	raw, err := os.ReadFile(c.file())
	if err != nil || !json.Valid(raw) {
		t.Errorf("demo.json of a kept folder: %v", err)
	}
}
