package linux

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// private runs the rest of the test in a network namespace that is its own: a
// process of its own, too, so that all threads and the guard are in it.
func private(t *testing.T) (inside bool) {
	t.Helper()
	const mark = "RAIN_TEST_IN_NETNS"
	if os.Getenv(mark) == t.Name() {
		run(t, "ip", "link", "set", "lo", "up")
		run(t, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
		run(t, "ip", "addr", "add", "10.77.0.11/24", "dev", "v0")
		run(t, "ip", "link", "set", "v0", "up")
		run(t, "ip", "link", "set", "v1", "up")
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped vip-linux: a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped vip-linux: no 'ip' program (package iproute2)")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skip("skipped vip-linux: no network namespace can be made here")
	}
	if err != nil {
		t.Errorf("in a namespace: %v\n%s", err, out)
	}
	return false
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
}
