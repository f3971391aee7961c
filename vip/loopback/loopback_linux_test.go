package loopback

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring"
	"rain/vip/guard"
	"rain/vip/sockdiag"
	"rain/vip/table"
)

const childEnv = "RAIN_TEST_LOOPBACK_CHILD" // the port on which to hold the test's address

var testAddr = table.Address{Prefix: netip.MustParsePrefix("127.0.1.77/32")}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == guard.Argument {
		os.Exit(guard.Main(os.Args[2:]))
	}
	if port, err := strconv.Atoi(os.Getenv(childEnv)); err == nil {
		if err := child(uint16(port)); err != nil {
			fmt.Println("fault", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func boottime() ring.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return ring.Instant(ts.Nano())
}

const testLease = 300 * time.Millisecond

// child is a node that holds the address and says so. Once its listener has
// ended it says that, and does nothing any more.
func child(port uint16) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d, err := New(ctx, Config{Port: port}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	var ln net.Listener
	for {
		d.Renew(boottime().Add(testLease))
		if ln, err = d.Acquire(ctx, testAddr); err == nil {
			break
		}
		if !errors.Is(err, guard.ErrLeaseOver) { // a very slow machine
			return err
		}
	}
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				ended <- err
				return
			}
			c.Write([]byte("x"))
			c.Close()
		}
	}()
	fmt.Println("holds", d.GuardPid())
	for {
		select {
		case err := <-ended:
			fmt.Println("ended", err)
			time.Sleep(time.Minute)
			return nil
		case <-time.After(5 * time.Millisecond):
			d.Renew(boottime().Add(testLease))
		}
	}
}

type childProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *bufio.Scanner
	guard int
	to    string
	port  uint16
}

func startChild(t *testing.T) *childProcess {
	ln, err := net.Listen("tcp", "127.0.1.77:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &childProcess{t: t, to: ln.Addr().String(), port: uint16(ln.Addr().(*net.TCPAddr).Port)}
	ln.Close()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", childEnv, p.port))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.out = bufio.NewScanner(out)
	if _, err := fmt.Sscanf(p.line(), "holds %d", &p.guard); err != nil {
		t.Fatal(err)
	}
	if !p.answers() {
		t.Fatal("the child does not answer")
	}
	return p
}

func (p *childProcess) line() string {
	if !p.out.Scan() {
		p.t.Fatalf("the child said no more: %v", p.out.Err())
	}
	return p.out.Text()
}

func (p *childProcess) answers() bool {
	c, err := net.DialTimeout("tcp", p.to, 10*time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = c.Read(make([]byte, 1))
	return err == nil
}

// waitRefused waits until the kernel refuses connections; the connections that
// it queued before are returned.
func (p *childProcess) waitRefused() (queued []net.Conn) {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", p.to, time.Second)
		if errors.Is(err, unix.ECONNREFUSED) {
			return queued
		}
		if err == nil {
			p.t.Cleanup(func() { c.Close() })
			queued = append(queued, c)
		}
	}
	p.t.Fatal("somebody listens still")
	return nil
}

// state is a process's letter in /proc; 0: it is gone.
func state(pid int) byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return b[strings.LastIndexByte(string(b), ')')+2]
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	s := state(pid)
	return s != 0 && s != 'Z' && s != 'X'
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d lives on", pid)
		}
	}
}

func TestFrozenHolderStopsListening(t *testing.T) {
	p := startChild(t)
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); state(p.cmd.Process.Pid) != 'T'; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the child does not stop")
		}
	}
	queued := p.waitRefused()
	if len(queued) == 0 {
		t.Log("the freeze was not seen before the lease's end") // a very slow machine
	}
	for _, c := range queued {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("a connection in the frozen queue: %v, want a reset", err)
		}
	}
	// Another takes over, and not even by SO_REUSEPORT.
	ln, err := net.Listen("tcp", p.to)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("y"))
			c.Close()
		}
	}()
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := p.line(); got != "ended "+net.ErrClosed.Error() {
		t.Errorf("the thawed child said %q", got)
	}
	for range 50 {
		c, err := net.DialTimeout("tcp", p.to, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 1)
		if _, err := c.Read(b); err != nil || b[0] != 'y' {
			t.Errorf("answer %q, %v: not from the new holder", b, err)
		}
		c.Close()
	}
	if !alive(p.guard) {
		t.Error("the guard of a living node is gone")
	}
}

func TestDeadHolderStopsListening(t *testing.T) {
	p := startChild(t)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.waitRefused()
	waitGone(t, p.guard)
}

func testDriver(t *testing.T) *Driver {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.1.77:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	ln.Close()
	d, err := New(t.Context(), Config{Port: port}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestRenewedLeaseIsNeverCutShort(t *testing.T) {
	d := testDriver(t)
	start := boottime()
	until := start.Add(testLease)
	d.Renew(until)
	ln, err := d.Acquire(t.Context(), testAddr)
	if err != nil {
		t.Fatal(err)
	}
	for now := boottime(); now < start.Add(4*testLease); now = boottime() {
		if now >= until {
			t.Skip("this machine paused the test for longer than a lease")
		}
		until = now.Add(testLease)
		d.Renew(until)
		time.Sleep(5 * time.Millisecond)
	}
	d.Renew(boottime().Add(time.Minute)) // the guard is at its old alarm now, at the latest
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestNoLeaseNoListening(t *testing.T) {
	d := testDriver(t)
	if _, err := d.Acquire(t.Context(), testAddr); !errors.Is(err, guard.ErrLeaseOver) {
		t.Fatalf("Acquire without a lease: %v", err)
	}
	d.Renew(boottime().Add(50 * time.Millisecond))
	ln, err := d.Acquire(t.Context(), testAddr)
	if err != nil {
		t.Skipf("the lease ended first: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) { // the guard ends it, at the lease's end
		t.Fatalf("Accept after the lease's end: %v", err)
	}
	if now := boottime(); now < d.lease.Until() {
		t.Errorf("shut %s before the lease's end", d.lease.Until().Sub(now))
	}
	// With a new lease the address is ours again.
	d.Renew(boottime().Add(time.Minute))
	if _, err := d.Acquire(t.Context(), testAddr); err != nil {
		t.Fatal(err)
	}
}

func TestKilledGuardShutsAndIsReplaced(t *testing.T) {
	d := testDriver(t)
	d.Renew(boottime().Add(time.Minute))
	ln, err := d.Acquire(t.Context(), testAddr)
	if err != nil {
		t.Fatal(err)
	}
	first := d.GuardPid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Accept without a guard: %v", err)
	}
	if _, err := d.Acquire(t.Context(), testAddr); err != nil {
		t.Fatal(err)
	}
	second := d.GuardPid()
	if second == first || second == 0 {
		t.Errorf("guards %d, then %d", first, second)
	}
	d.Close()
	waitGone(t, first)
	waitGone(t, second)
	if _, err := d.Acquire(t.Context(), testAddr); !errors.Is(err, ErrClosed) {
		t.Errorf("Acquire after Close: %v", err)
	}
}

func TestReleaseAndForeignListener(t *testing.T) {
	d := testDriver(t)
	d.Renew(boottime().Add(time.Minute))
	ln, err := d.Acquire(t.Context(), testAddr)
	if err != nil {
		t.Fatal(err)
	}
	d.Release(testAddr.Addr())
	other, err := net.Listen("tcp", ln.Addr().String()) // at once: Release waits for it
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Acquire(ctx, testAddr); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("beside a foreign listener: %v", err)
	}
	time.AfterFunc(30*time.Millisecond, func() { other.Close() })
	if _, err := d.Acquire(t.Context(), testAddr); err != nil {
		t.Errorf("after it went: %v", err)
	}
	if _, err := d.Acquire(t.Context(), table.Address{Prefix: netip.MustParsePrefix("10.0.0.1/24")}); err == nil {
		t.Error("an address outside 127.0.0.0/8 was taken")
	}
}

// A client whose last packet of the handshake comes late has chosen the old
// holder's socket: the hand-over waits for it.
func TestSteerWaitsForHandshakes(t *testing.T) {
	from := testDriver(t)
	from.patience = time.Minute
	to, err := New(t.Context(), from.cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	from.Renew(boottime().Add(time.Hour))
	to.Renew(boottime().Add(time.Hour))
	old, err := from.Acquire(t.Context(), testAddr)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(testAddr.Addr(), from.cfg.Port)
	fd := halfOpen(t, at)
	next, err := to.Prepare(t.Context(), testAddr)
	if err != nil {
		t.Fatal(err)
	}
	steered := make(chan error, 1)
	go func() { steered <- from.Steer(t.Context(), testAddr.Addr()) }()
	reached := make(chan struct{})
	go func() {
		if c, err := next.Accept(); err == nil {
			c.Close()
			close(reached)
		}
	}()
	for new := false; !new; { // until new ones go to the successor
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-reached:
			new = true
		case <-time.After(10 * time.Millisecond): // it was before the swap
		}
		c.Close()
	}
	go func() { // the server that goes on accepting
		for {
			c, err := old.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("x"))
			c.Close()
		}
	}()
	select {
	case err := <-steered:
		t.Fatalf("steered while a handshake was open: %v", err)
	case <-time.After(200 * time.Millisecond): // its looks are a millisecond apart
	}
	// Now the client hears, at the SYN-ACK's or its own SYN's next try.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-steered; err != nil {
		t.Error(err)
	}
	from.Release(testAddr.Addr())
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	client, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 1)
	if _, err := client.Read(b); err != nil || b[0] != 'x' {
		t.Errorf("the old holder's answer is %q, %v", b, err)
	}
}

// halfOpen begins to connect and does not hear the answer.
func halfOpen(t *testing.T, to netip.AddrPort) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	deaf := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &deaf[0]}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		socks, err := sockdiag.Connections(to, sockdiag.SynRecv)
		if err != nil {
			t.Fatal(err)
		}
		if len(socks) == 1 {
			return fd
		}
		if time.Now().After(end) {
			t.Fatalf("handshakes %v, want one", socks)
		}
	}
}
