//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rain/cmd/internal/client"
)

// colony is a cluster that begins with one node and grows by invitations.
type colony struct {
	o     options
	dir   string
	nodes map[string]*exec.Cmd
}

func (c *colony) cluster() string { return filepath.Join(c.dir, "n1", "cluster.json") }

// ctl calls rainctl and returns what it printed.
func (c *colony) ctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.o.ctl, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("rainctl %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func (c *colony) places(i int) []string {
	ip := fmt.Sprintf("127.0.0.%d:", 50+i)
	return []string{"--listen", ip + strconv.Itoa(c.o.port+2), "--web", ip + strconv.Itoa(c.o.port), "--admin-listen", ip + strconv.Itoa(c.o.port+1)}
}

func (c *colony) start(name string) error {
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(c.o.exe, "run", "--config", filepath.Join(c.dir, name, "node.toml"))
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.nodes[name] = cmd
	return nil
}

func (c *colony) stop() {
	for _, cmd := range c.nodes {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
		_ = cmd.Wait()
	}
	if os.Getenv("KEEP") == "" {
		_ = os.RemoveAll(c.dir)
	} else {
		fmt.Fprintln(os.Stderr, "kept", c.dir)
	}
}

// members waits until so many nodes are up, in one settled view, and every
// address is held.
func (c *colony) members(ctx context.Context, n int) error {
	f, err := client.ReadClusterFile(c.cluster())
	if err != nil {
		return err
	}
	cl := f.Client()
	defer cl.Close()
	last := ""
	for range 600 {
		st, err := cl.Status(ctx)
		held := err == nil
		for _, v := range st.VIPs {
			held = held && v.Holder != ""
		}
		if held && st.Ring.Settled && st.Ring.Members == n && len(st.Members) == n && (n == 1 || len(st.VIPs) > 0) {
			return nil
		}
		last = fmt.Sprint(st.Sentence, err)
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("not %d members within 60 s: %s", n, last)
}

func (c *colony) found(ctx context.Context) error {
	args := append([]string{"init", "colony", filepath.Join(c.dir, "n1"), "--preset", c.o.preset, "--vip", "127.0.2.1,127.0.2.2"}, c.places(1)...)
	if _, err := c.ctl(ctx, args...); err != nil {
		return err
	}
	if err := c.start("n1"); err != nil {
		return err
	}
	if err := c.members(ctx, 1); err != nil {
		return err
	}
	site := filepath.Join(c.dir, "site")
	if err := os.MkdirAll(site, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte(strings.Repeat("rain ", 200)), 0o600); err != nil {
		return err
	}
	_, err := c.ctl(ctx, "--cluster", c.cluster(), "site", "publish", site, "colony", "--default")
	return err
}

func (c *colony) join(ctx context.Context, i int) error {
	token, err := c.ctl(ctx, "--cluster", c.cluster(), "invite")
	if err != nil {
		return err
	}
	name := fmt.Sprintf("n%d", i)
	if _, err := c.ctl(ctx, append([]string{"join", token, filepath.Join(c.dir, name), "--node", name}, c.places(i)...)...); err != nil {
		return err
	}
	if err := c.start(name); err != nil {
		return err
	}
	return c.members(ctx, i)
}

// grow lets a cluster grow from one node to -n (6) and shrink back, by the
// commands that an operator uses, under load on its virtual addresses.
func grow(ctx context.Context, o options) error {
	most := o.n
	if most == 0 {
		most = 6
	}
	dir, err := os.MkdirTemp("", "rain-colony-")
	if err != nil {
		return err
	}
	c := &colony{o: o, dir: dir, nodes: map[string]*exec.Cmd{}}
	defer c.stop()
	if err := c.found(ctx); err != nil {
		return err
	}
	port := strconv.Itoa(o.port)
	vips := []string{"127.0.2.1:" + port, "127.0.2.2:" + port}
	for range 100 {
		if answers(vips[0]) && answers(vips[1]) {
			break
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return asked(ctx, o, fmt.Sprintf("grow 1 -> %d, shrink %d -> 1", most, most), vips, func() error {
		for i := 2; i <= most; i++ {
			if err := c.join(ctx, i); err != nil {
				return err
			}
			sleep(ctx, 500*time.Millisecond)
		}
		for i := most; i >= 2; i-- {
			if _, err := c.ctl(ctx, "--cluster", c.cluster(), "--timeout", "60s", "node", "leave", fmt.Sprintf("n%d", i)); err != nil {
				return err
			}
			if err := c.members(ctx, i-1); err != nil {
				return err
			}
			sleep(ctx, 500*time.Millisecond)
		}
		return nil
	})
}
