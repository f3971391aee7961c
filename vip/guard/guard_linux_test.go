package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Argument {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func testLease(t *testing.T) *Lease {
	t.Helper()
	l, err := NewLease()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// bound is a socket that does not listen yet.
func bound(t *testing.T) (fd int, to string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, 78}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in := sa.(*unix.SockaddrInet4)
	return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)).String()
}

func listens(to string) bool {
	c, err := net.DialTimeout("tcp", to, 10*time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestListenShutClose(t *testing.T) {
	lease := testLease(t)
	g, err := Start(t.Context(), Config{Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	fd, to := bound(t)
	if _, err := g.Listen(t.Context(), fd, 10); !errors.Is(err, ErrLeaseOver) {
		t.Fatalf("Listen without a lease: %v", err)
	}
	lease.Renew(ring.Instant(now()).Add(time.Minute))
	if _, err := g.Listen(t.Context(), fd, 10); err != nil || !listens(to) {
		t.Fatalf("Listen: %v", err)
	}
	fd2, to2 := bound(t)
	id2, err := g.Listen(t.Context(), fd2, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Shut(id2); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); listens(to2); {
		if time.Now().After(end) {
			t.Fatal("listens after Shut")
		}
	}
	// A terminal's signals do not reach it.
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(g.Pid(), s); err != nil {
			t.Fatal(err)
		}
	}
	if sid, err := unix.Getsid(g.Pid()); err != nil || sid != g.Pid() {
		t.Errorf("the guard's session is %d (%v), want its own, %d", sid, err, g.Pid())
	}
	if !listens(to) {
		t.Error("the other socket does not listen any more")
	}
	g.Close()
	if listens(to) {
		t.Error("listens after Close")
	}
	if _, err := g.Listen(t.Context(), fd, 10); !errors.Is(err, ErrGone) {
		t.Errorf("Listen after Close: %v", err)
	}
}

func TestLeaseEndIsTold(t *testing.T) {
	lease := testLease(t)
	ended := make(chan uint32, 1)
	g, err := Start(t.Context(), Config{Lease: lease, OnEnded: func(id uint32) { ended <- id }})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	fd, to := bound(t)
	end := ring.Instant(now()).Add(300 * time.Millisecond)
	lease.Renew(end)
	id, err := g.Listen(t.Context(), fd, 10)
	if err != nil {
		t.Skipf("this machine paused the test for longer than the lease: %v", err)
	}
	select {
	case got := <-ended:
		if got != id || ring.Instant(now()) < end {
			t.Errorf("socket %d ended %s before the lease, want %d at its end", got, end.Sub(ring.Instant(now())), id)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the guard says nothing of the lease's end")
	}
	if listens(to) {
		t.Error("listens after the lease's end")
	}
}

func TestStartOfSomethingElse(t *testing.T) {
	lease := testLease(t)
	_, err := Start(t.Context(), Config{Lease: lease, Exe: "/bin/true"})
	if err == nil || !strings.Contains(err.Error(), "guard.Main") {
		t.Errorf("a program that is no guard: %v", err)
	}
	if _, err := Start(t.Context(), Config{Lease: lease, Exe: "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if g, err := Start(ctx, Config{Lease: lease}); err == nil {
		g.Close() // it was faster
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("Start after the end of ctx: %v", err)
	}
	if code := Main([]string{"x"}); code != 2 {
		t.Errorf("arguments: exit code %d", code)
	}
}
