package labtest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// below lists the processes that were started with a folder in their arguments,
// but for this one.
func below(t *testing.T, dir string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(dir)) { // it may have ended meanwhile
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestNothingIsLeft: however the laboratory ends, so do its nodes and their guards.
func TestNothingIsLeft(t *testing.T) {
	for name, end := range map[string]func(*lab){
		"laboratory killed": func(l *lab) { _ = syscall.Kill(l.pid, syscall.SIGKILL) },
		"leash cut":         func(l *lab) { _ = l.leash.Close() },
		"time is over":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			flags := []string{}
			if end == nil {
				flags = []string{"--for", "6s"}
			}
			l := up(t, "../triangle.toml", withVIPs(1), flags...)
			if n := len(below(t, l.dir)); n < 4 {
				t.Fatalf("%d processes: where are the nodes?", n)
			}
			if end != nil {
				end(l)
			}
			l.until("end of all processes", 20*time.Second, func() bool { return len(below(t, l.dir)) == 0 })
		})
	}
}
