package box

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a program that runs in a host.
type Process struct {
	PID  int
	done chan struct{}
	how  syscall.WaitStatus
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status tells how it ended; only after Done.
func (p *Process) Status() syscall.WaitStatus { return p.how }

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error {
	select {
	case <-p.done:
		return fmt.Errorf("box: process %d has ended", p.PID)
	default:
		return syscall.Kill(p.PID, s)
	}
}

// Reaper waits for all children of this process, those that were started here
// and those that were left to it. There may be one in a process, and nobody
// else may wait for children.
type Reaper struct {
	mu    sync.Mutex
	known map[int]*Process
}

// NewReaper makes one; its owner calls Reap.
func NewReaper() *Reaper { return &Reaper{known: map[int]*Process{}} }

// Start runs argv in the host, its output into log.
func (r *Reaper) Start(b *Box, argv []string, dir string, env []string, log *os.File) (*Process, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, fmt.Errorf("box: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }() // only read
	r.mu.Lock()
	defer r.mu.Unlock() // so that Reap does not take it before it is known
	p := &Process{done: make(chan struct{})}
	err = b.Do(func() error {
		pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
			Dir: dir, Env: env, Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
			Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
		})
		p.PID = pid
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("box: %s in %s: %w", argv[0], b.Name, err)
	}
	r.known[p.PID] = p
	return p, nil
}

// Reap takes all children that have ended. Call it at each SIGCHLD.
func (r *Reaper) Reap() error {
	for {
		var how syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &how, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD) || err == nil && pid == 0:
			return nil
		case err != nil:
			return fmt.Errorf("box: wait: %w", err)
		}
		r.mu.Lock()
		if p := r.known[pid]; p != nil {
			p.how = how
			delete(r.known, pid)
			close(p.done)
		}
		r.mu.Unlock()
	}
}
