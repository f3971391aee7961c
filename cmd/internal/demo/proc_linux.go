package demo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"rain/vip/guard"
)

const (
	hasVIPs   = true
	canLook   = true
	needsPipe = false
)

// childAttr gives a child a process group of its own (the terminal's INT is for
// the demo alone) and its death with the demo's.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
func thaw(p *os.Process) error   { return p.Signal(syscall.SIGCONT) }

func terminate(p *os.Process, _ io.Closer) error { return p.Signal(syscall.SIGTERM) }

func tryLock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// look reads a process's state.
func look(pid int) (alive, frozen bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false, false
	}
	// The name, in brackets, may hold anything; the state follows the last one.
	_, rest, _ := bytes.Cut(raw[bytes.LastIndexByte(raw, ')')+1:], []byte(" "))
	if len(rest) == 0 {
		return false, false
	}
	switch rest[0] {
	case 'Z', 'X':
		return false, false
	case 'T':
		return true, true
	}
	return true, false
}

// guardOf finds the guard among a node's children.
func guardOf(pid int) int {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0
	}
	for _, list := range lists {
		raw, _ := os.ReadFile(list) // a thread that ended has none
		for _, f := range strings.Fields(string(raw)) {
			child, err := strconv.Atoi(f)
			if args := cmdline(child); err == nil && len(args) > 1 && args[1] == guard.Argument {
				return child
			}
		}
	}
	return 0
}

// findNode finds a process that runs a node with this config.
func findNode(config string) int {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		args := cmdline(pid)
		if len(args) < 3 || args[1] != "run" || !slices.Contains(args, config) && !slices.Contains(args, "--config="+config) {
			continue
		}
		if alive, _ := look(pid); alive {
			return pid
		}
	}
	return 0
}

func cmdline(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
}
