package netlab

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The preset is that for noisy machines: here correctness is tested, and several
// nodes and the test share the processors. demos/bench measures times.

// Cluster is a lab whose nodes run the program snow, hold one virtual IP and
// serve a page at /.
type Cluster struct {
	*Lab
	VIP  netip.AddrPort
	Port int // P: VIP and web; P+1 admin; P+2 ring
	bin  string
}

// patience is for what must happen sooner or later, on a loaded machine.
const patience = 20 * time.Second

// Build compiles the programs into dir. root is the module's folder.
func Build(t testing.TB, root, dir string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", dir+"/", "./cmd/snow", "./cmd/rainctl")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("netlab: build the programs: %v\n%s", err, out)
	}
}

// Start runs a node on each place of the lab, from the programs in bin, and
// waits until the page is served.
func (l *Lab) Start(bin string, port int) *Cluster {
	l.t.Helper()
	c := &Cluster{Lab: l, VIP: netip.AddrPortFrom(netip.MustParseAddr("10.77.0.200"), uint16(port)), Port: port, bin: bin}
	l.write("key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("lab!"), 8)))
	l.write("token", "a-token-of-the-laboratory")
	l.write("site/index.html", "hello")
	for _, n := range l.Nodes {
		l.write(n.Name+".toml", c.file(n))
		c.Run(n)
	}
	c.Eventually("publish the site", func() error {
		_, err := c.ctl(l.Nodes[0], "site", "publish", filepath.Join(l.Dir, "site"), "lab.rain", "--default")
		return err
	})
	c.Eventually("get the page", c.Get)
	return c
}

func (l *Lab) write(name, text string) {
	path := filepath.Join(l.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (c *Cluster) file(n *Node) string {
	var b strings.Builder
	var founders []string
	for _, p := range c.Nodes {
		founders = append(founders, fmt.Sprintf("%q", fmt.Sprintf("0.1.0.%d", p.number)))
	}
	fmt.Fprintf(&b, "[node]\nname = %q\nid = \"0.1.0.%d\"\ndata = %q\n", n.Name, n.number, filepath.Join(c.Dir, n.Name))
	fmt.Fprintf(&b, "[cluster]\nname = \"lab\"\nkey_file = \"key\"\npreset = \"laptop\"\nfounders = [%s]\n", strings.Join(founders, ", "))
	fmt.Fprintf(&b, "[[link]]\nname = \"a\"\nlisten = \"%s:%d\"\n", n.Ring, c.Port+2)
	for _, p := range c.Nodes {
		fmt.Fprintf(&b, "[[peer]]\nid = \"0.1.0.%d\"\nname = %q\nlinks = [\"%s:%d\"]\n", p.number, p.Name, p.Ring, c.Port+2)
	}
	fmt.Fprintf(&b, "[web]\nlisten = [\"%s:%d\"]\nvip_port = %d\nnode_header = true\n", n.Addr, c.Port, c.Port)
	fmt.Fprintf(&b, "[admin]\nlisten = \"127.0.0.1:%d\"\ntoken_file = \"token\"\n", c.Port+1)
	fmt.Fprintf(&b, "[vip]\ndriver = \"linux\"\n[[vip.pool]]\nname = \"web\"\ninterface = \"eth0\"\naddresses = [\"%s/24\"]\n", c.VIP.Addr())
	return b.String()
}

// Run starts a node, which must not be running.
func (c *Cluster) Run(n *Node) {
	c.t.Helper()
	log, err := os.OpenFile(c.logOf(n), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := c.Command(n.NS, filepath.Join(c.bin, "snow"), "run", "--config", filepath.Join(c.Dir, n.Name+".toml"))
	cmd.Stderr, cmd.Stdout = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	n.cmd, n.log = cmd, log
	c.t.Cleanup(func() {
		if n.cmd == cmd {
			c.Signal(n, syscall.SIGKILL)
			c.Wait(n)
		}
		if c.t.Failed() {
			if b, err := os.ReadFile(log.Name()); err == nil {
				c.t.Logf("log of %s:\n%s", n.Name, tail(b, 4000))
			}
		}
	})
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func (c *Cluster) logOf(n *Node) string { return filepath.Join(c.Dir, n.Name+".log") }

// Log is what a node has said since Run.
func (c *Cluster) Log(n *Node) string {
	b, err := os.ReadFile(c.logOf(n))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// Signal sends a signal to a node's process alone.
func (c *Cluster) Signal(n *Node, sig syscall.Signal) {
	if err := n.cmd.Process.Signal(sig); err != nil {
		c.t.Errorf("signal %v to %s: %v", sig, n.Name, err)
	}
}

// Wait waits for the end of a node's process and returns how it ended.
func (c *Cluster) Wait(n *Node) error {
	err := n.cmd.Wait()
	n.log.Close()
	n.cmd = nil
	return err
}

// Guard is the pid of a node's guard.
func (c *Cluster) Guard(n *Node) int {
	m := regexp.MustCompile(`guard_pid=(\d+)`).FindStringSubmatch(c.Log(n))
	if m == nil {
		c.t.Fatalf("%s has not told its guard's pid", n.Name)
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil || pid < 2 {
		c.t.Fatalf("guard pid %q of %s", m[1], n.Name)
	}
	return pid
}

func (c *Cluster) ctl(n *Node, args ...string) ([]byte, error) {
	args = append([]string{"--admin", fmt.Sprintf("http://127.0.0.1:%d", c.Port+1), "--token-file", filepath.Join(c.Dir, "token"), "--json"}, args...)
	cmd := c.Command(n.NS, filepath.Join(c.bin, "rainctl"), args...)
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("rainctl %s: %w: %s", strings.Join(args[5:], " "), err, out)
	}
	return out, nil
}

// Status of a cluster, as far as tests look at it.
type Status struct {
	Ring    struct{ Primary bool }
	Members []struct{ Name, State string }
	VIPs    []struct{ Addr, Holder, Cause string }
}

// Status as a node sees it.
func (c *Cluster) Status(n *Node) (st Status, err error) {
	out, err := c.ctl(n, "status")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(out, &st)
}

// Settled waits until all nodes are up and one of them has held the VIP and
// answered for a while, and returns that one.
func (c *Cluster) Settled() (holder *Node) {
	c.t.Helper()
	looks := 0
	c.Eventually("settle", func() error {
		before := holder
		holder = nil
		defer func() {
			if looks++; holder == nil || holder != before {
				looks = 0
			}
		}()
		if err := c.settled(&holder); err != nil {
			return err
		}
		if looks < 10 {
			return fmt.Errorf("%s holds the address for %d looks", holder.Name, looks)
		}
		return nil
	})
	return holder
}

func (c *Cluster) settled(holder **Node) error {
	st, err := c.Status(c.Nodes[0])
	if err != nil {
		return err
	}
	up := 0
	for _, m := range st.Members {
		if m.State == "up" {
			up++
		}
	}
	if up != len(c.Nodes) || len(st.VIPs) != 1 {
		return fmt.Errorf("%+v", st)
	}
	for _, n := range c.Nodes {
		if n.Name == st.VIPs[0].Holder {
			*holder = n
			return c.Get()
		}
	}
	return fmt.Errorf("held by %q", st.VIPs[0].Holder)
}

// other is a node that is not n.
func (c *Cluster) other(n *Node) *Node {
	for _, o := range c.Nodes {
		if o != n {
			return o
		}
	}
	return nil
}

// Eventually tries f until it returns nil.
func (c *Cluster) Eventually(what string, f func() error) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Get asks for the page once, from the client, over a new connection.
func (c *Cluster) Get() error {
	return c.Try(c.ClientNS(), func() error { return Get(c.VIP) })
}

// Get asks for / over a new connection from the caller's namespace.
func Get(at netip.AddrPort) error {
	conn, err := net.DialTimeout("tcp", at.String(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: lab.rain\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(b, []byte("hello\n")) {
		return fmt.Errorf("answer %q", b)
	}
	return nil
}

// Watch is what rainctl watch has seen.
type Watch struct {
	OK         int     `json:"ok"`
	Failed     int     `json:"failed"`
	LongestGap float64 `json:"longest_gap_ms"`
	Failures   []struct {
		Start  float64 `json:"start_ms"`
		Reason string  `json:"reason"`
	} `json:"failures"`
	Raw   string    `json:"-"`
	Began time.Time `json:"started"`
}

// Between lists the failures of requests that began between two moments.
func (w Watch) Between(from, to time.Time) (reasons []string) {
	for _, f := range w.Failures {
		at := w.Began.Add(time.Duration(f.Start * float64(time.Millisecond)))
		if !at.Before(from) && at.Before(to) {
			reasons = append(reasons, f.Reason)
		}
	}
	return reasons
}

// Watch asks for the page over and over from the client while f runs; f begins
// when it has run for a moment.
func (c *Cluster) Watch(d time.Duration, f func()) (w Watch) {
	c.t.Helper()
	cmd := c.Command(c.ClientNS(), filepath.Join(c.bin, "rainctl"), "watch", "http://"+c.VIP.String()+"/", "--every", "5ms", "--for", d.String(), "--json")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	f()
	_ = cmd.Wait() // it fails if a request did; the counts tell more
	if err := json.Unmarshal(out.Bytes(), &w); err != nil {
		c.t.Fatalf("rainctl watch: %v: %s", err, out.Bytes())
	}
	w.Raw = out.String()
	return w
}
