//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rain/cmd/internal/client"
	"rain/snow/admin"
)

// cluster is a demo and what is known of it.
type cluster struct {
	o    options
	dir  string
	cmd  *exec.Cmd
	file demoFile
}

type demoFile struct {
	Token   string     `json:"token"`
	Control string     `json:"control"`
	Site    string     `json:"site"`
	VIPs    []string   `json:"vips"`
	Nodes   []demoNode `json:"nodes"`
}

type demoNode struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Pid      int    `json:"pid"`
	GuardPid int    `json:"guard_pid"`
	Admin    string `json:"admin"`
	HTTP     string `json:"http"`
	State    string `json:"state"`
}

func startCluster(ctx context.Context, o options) (*cluster, error) {
	dir, err := os.MkdirTemp("", "rain-trial-")
	if err != nil {
		return nil, err
	}
	c := &cluster{o: o, dir: dir}
	c.cmd = exec.Command(o.exe, "demo", "--dir", dir, "--preset", o.preset, "--port", strconv.Itoa(o.port),
		"--admin-port", strconv.Itoa(o.port+1), "--ring-port", strconv.Itoa(o.port+2), "--run-for", "60m", "--nodes", strconv.Itoa(o.nodes))
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		if err := c.read(); err == nil {
			return c, nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			break
		}
	}
	c.stop()
	return nil, fmt.Errorf("the demo was not ready within 60 s")
}

// stop ends the demo and all that it started.
func (c *cluster) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_ = c.cmd.Wait()
	if os.Getenv("KEEP") == "" {
		_ = os.RemoveAll(c.dir)
	} else {
		fmt.Fprintln(os.Stderr, "kept", c.dir)
	}
}

func (c *cluster) read() error {
	b, err := os.ReadFile(filepath.Join(c.dir, "demo.json"))
	if err != nil {
		return err
	}
	var f demoFile
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	c.file = f
	return nil
}

func (c *cluster) node(name string) (demoNode, error) {
	if err := c.read(); err != nil {
		return demoNode{}, err
	}
	for _, n := range c.file.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return demoNode{}, fmt.Errorf("no node %s", name)
}

// control tells the demo to crash, freeze, thaw, stop or start a node.
func (c *cluster) control(name, verb string) error {
	req, err := http.NewRequest(http.MethodPost, c.file.Control+"/nodes/"+name+"/"+verb, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.file.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", verb, name, resp.Status)
	}
	return nil
}

func (c *cluster) status(ctx context.Context, node demoNode) (admin.Status, error) {
	cl := client.New([]string{node.Admin}, c.file.Token)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return cl.Status(ctx)
}

// any is a client of the whole cluster.
func (c *cluster) any() *client.Client {
	urls := make([]string, 0, len(c.file.Nodes))
	for _, n := range c.file.Nodes {
		urls = append(urls, n.Admin)
	}
	return client.New(urls, c.file.Token)
}

// holder is who holds the first VIP.
func (c *cluster) holder(ctx context.Context) (string, error) {
	cl := c.any()
	defer cl.Close()
	st, err := cl.Status(ctx)
	if err != nil {
		return "", err
	}
	for _, v := range st.VIPs {
		if v.Addr == c.file.VIPs[0] && v.Holder != "" {
			return v.Holder, nil
		}
	}
	return "", errors.New("nobody holds " + c.file.VIPs[0])
}

// whole waits until all nodes are in one view and every VIP is held.
func (c *cluster) whole(ctx context.Context) error {
	var last string
	for range 600 {
		st, err := func() (admin.Status, error) {
			cl := c.any()
			defer cl.Close()
			return cl.Status(ctx)
		}()
		if err == nil && st.Health == "ok" && len(st.Members) == len(c.file.Nodes) {
			return nil
		}
		last = fmt.Sprint(st.Sentence, err)
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the cluster is not whole again within 60 s: %s", last)
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// load is the machine's load average, for reports.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}
