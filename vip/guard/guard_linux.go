package guard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startTimeout = 10 * time.Second // a loaded box; not on the way of a fail-over
	writeTimeout = time.Second      // the guard reads at once, or is stopped
	closeTimeout = 2 * time.Second
)

// Guard is a running guard process, seen from the node.
type Guard struct {
	cmd  *exec.Cmd
	conn *net.UnixConn
	done chan struct{} // the reader and the process have ended

	mu      sync.Mutex
	next    uint32
	waiting map[uint32]chan unix.Errno
	onEnded func(id uint32)
	hello   chan struct{}
}

// Config says how to start a guard.
type Config struct {
	Lease *Lease
	// Exe and Args run a program that calls Main. Empty: this program with Argument.
	Exe  string
	Args []string
	// OnEnded, if not nil, is told each socket that was shut at the lease's end.
	// It must not block or call the Guard.
	OnEnded func(id uint32)
}

// Start runs a guard process and waits until it guards.
func Start(ctx context.Context, cfg Config) (*Guard, error) {
	if cfg.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("vip guard: find this program to run it as a guard: %w", err)
		}
		cfg.Exe, cfg.Args = exe, []string{Argument}
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	g := &Guard{
		cmd: exec.Command(cfg.Exe, cfg.Args...), conn: ours, onEnded: cfg.OnEnded,
		done: make(chan struct{}), hello: make(chan struct{}), waiting: map[uint32]chan unix.Errno{},
	}
	g.cmd.ExtraFiles = []*os.File{theirs, cfg.Lease.file} // fd 3 and 4
	g.cmd.Stderr = os.Stderr
	g.cmd.Dir = "/"
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = g.cmd.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("vip guard: start %s: %w", cfg.Exe, err)
	}
	go g.read()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-g.hello:
		return g, nil
	case <-g.done:
		return nil, fmt.Errorf("vip guard: %s %v ended before it guarded anything; does this program run guard.Main?", cfg.Exe, cfg.Args)
	case <-ctx.Done():
		g.Close()
		return nil, fmt.Errorf("vip guard: no word from %s within %s: %w", cfg.Exe, startTimeout, ctx.Err())
	}
}

func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("vip guard: socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "guard")
	f := os.NewFile(uintptr(fds[0]), "node")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("vip guard: socket pair: %w", err)
	}
	return c.(*net.UnixConn), theirs, nil
}

// Pid is the guard's process.
func (g *Guard) Pid() int { return g.cmd.Process.Pid }

// Done is closed once the guard is gone.
func (g *Guard) Done() <-chan struct{} { return g.done }

// read ends with the guard's end of the pair, and reaps the process.
func (g *Guard) read() {
	defer close(g.done)
	buf := make([]byte, maxMessage)
	for greeted := false; ; {
		n, err := g.conn.Read(buf)
		if err != nil || n == 0 {
			break
		}
		switch b := buf[:n]; {
		case n == 1 && b[0] == msgHello && !greeted:
			greeted = true
			close(g.hello)
		case n == 9 && b[0] == msgAnswer:
			g.answer(binary.BigEndian.Uint32(b[1:]), unix.Errno(binary.BigEndian.Uint32(b[5:])))
		case n == 5 && b[0] == msgEnded && g.onEnded != nil:
			g.onEnded(binary.BigEndian.Uint32(b[1:]))
		}
	}
	g.conn.Close() // the guard ends at it, if it has not
	kill := time.AfterFunc(closeTimeout, func() { _ = g.cmd.Process.Kill() })
	_ = g.cmd.Wait() // how it ended makes no difference
	kill.Stop()
}

func (g *Guard) answer(id uint32, errno unix.Errno) {
	g.mu.Lock()
	c := g.waiting[id]
	delete(g.waiting, id)
	g.mu.Unlock()
	if c != nil {
		c <- errno // has room for one
	}
}

// Listen makes the bound socket fd listen, guarded. The caller keeps its own fd.
// The id names the socket in Shut and OnEnded; it is never used again.
func (g *Guard) Listen(ctx context.Context, fd, backlog int) (id uint32, err error) {
	id, answer := g.expect()
	defer g.forget(id)
	b := binary.BigEndian.AppendUint32([]byte{msgListen}, id)
	b = binary.BigEndian.AppendUint32(b, uint32(backlog))
	if err := g.write(b, unix.UnixRights(fd)); err != nil {
		return 0, err
	}
	err = g.await(ctx, "listen", answer)
	if err != nil && ctx.Err() != nil {
		_ = g.Shut(id) // it may listen by now
	}
	if err != nil {
		return 0, err
	}
	return id, nil
}

// expect numbers a message and makes room for its answer.
func (g *Guard) expect() (id uint32, answer chan unix.Errno) {
	answer = make(chan unix.Errno, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	g.waiting[g.next] = answer
	return g.next, answer
}

func (g *Guard) forget(id uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waiting, id)
}

func (g *Guard) await(ctx context.Context, what string, answer <-chan unix.Errno) error {
	select {
	case errno := <-answer:
		switch errno {
		case 0:
			return nil
		case unix.ETIME:
			return ErrLeaseOver
		}
		return fmt.Errorf("vip guard: %s: %w", what, errno)
	case <-g.done:
		return ErrGone
	case <-ctx.Done():
		return fmt.Errorf("vip guard: %s: no answer: %w", what, ctx.Err())
	}
}

// Shut makes the guard shut and forget a socket. It does not wait for it.
func (g *Guard) Shut(id uint32) error {
	return g.write(binary.BigEndian.AppendUint32([]byte{msgShut}, id), nil)
}

// write gives a guard up that does not read: it is stopped and guards nothing.
func (g *Guard) write(b, oob []byte) error {
	_ = g.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only if closed; then so does the write
	if _, _, err := g.conn.WriteMsgUnix(b, oob, nil); err != nil {
		g.conn.Close()
		if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			return ErrGone
		}
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// Close shuts everything guarded and waits until the guard has ended.
func (g *Guard) Close() {
	g.conn.Close()
	<-g.done
}
