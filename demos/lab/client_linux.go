package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rain/demos/lab/engine"
)

// call asks the laboratory in dir for something.
func call(ctx context.Context, dir, method, path string, order any, into any) error {
	c := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", engine.Socket(dir))
		},
		DisableKeepAlives: true,
	}}
	var body io.Reader
	if order != nil {
		b, err := json.Marshal(order)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("lab: is a laboratory up in %s? %w", dir, err)
	}
	defer func() { _ = resp.Body.Close() }() // all of it is read
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", strings.TrimSpace(string(b)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}

// up starts the laboratory as process 1 of a PID namespace of its own, so that
// the kernel ends all of it when it ends, and waits until it answers.
func (c *upCmd) Run(ctx context.Context, w io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := call(ctx, dir, http.MethodGet, "/status", nil, nil); err == nil {
		return fmt.Errorf("lab: a laboratory is up in %s already; 'lab down' ends it", dir)
	}
	log, err := os.OpenFile(filepath.Join(dir, "lab.log"), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(self, "engine", "--dir", dir, "--program", c.Program, fmt.Sprintf("--seed=%d", c.Seed), fmt.Sprintf("--empty=%v", c.Empty), c.Topology)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Setsid: true}
	if c.Bound {
		runtime.LockOSThread() // the signal follows the thread that made the child
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: namespaces need root on Linux: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the laboratory, or with this process
	if c.Bound {
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx)
		defer stop()
		go leash(stop) // ends with this process
	}
	return c.wait(ctx, w, dir, cmd.Process.Pid, ended)
}

// leash calls stop when who started this program is gone: then the pipe that is
// its standard input ends. Any other standard input says nothing.
func leash(stop context.CancelFunc) {
	if st, err := os.Stdin.Stat(); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // its end is what matters
	stop()
}

func (c *upCmd) wait(ctx context.Context, w io.Writer, dir string, pid int, ended <-chan error) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case err := <-ended:
			b, readErr := os.ReadFile(filepath.Join(dir, "lab.log"))
			if readErr != nil {
				return readErr
			}
			return fmt.Errorf("lab: the laboratory ended (%v): %s", err, strings.TrimSpace(string(b)))
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		var st engine.Status
		if call(ctx, dir, http.MethodGet, "/status", nil, &st) != nil {
			continue
		}
		fmt.Fprintf(w, "{\"api\":1,\"dir\":%q,\"pid\":%d,\"hosts\":%d,\"cluster\":%q}\n", dir, pid, len(st.Hosts), filepath.Join(dir, "lab.json"))
		if !c.Bound {
			return nil
		}
		select {
		case <-ctx.Done():
			return call(context.WithoutCancel(ctx), dir, http.MethodPost, "/down", engine.Order{}, nil)
		case err := <-ended:
			return err
		}
	}
}

// Run becomes the command, within the host.
func (c *execCmd) Run(_ context.Context, _ io.Writer) error {
	ns, err := engine.Namespace(c.Dir, c.Host)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(c.Command[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("lab: entering %s: %w", c.Host, err)
	}
	return syscall.Exec(path, c.Command, os.Environ())
}
