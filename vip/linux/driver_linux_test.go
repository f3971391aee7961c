package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"rain/ring"
	"rain/vip/guard"
	"rain/vip/table"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == guard.Argument {
		os.Exit(guard.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func bootTime() ring.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return ring.Instant(ts.Nano())
}

var (
	vip4 = netip.MustParseAddr("10.77.0.200")
	vip6 = netip.MustParseAddr("2001:db8::c8")
)

func addressOf(a netip.Addr, bits int) table.Address {
	return table.Address{Prefix: netip.PrefixFrom(a, bits), Pool: "web"}
}

func newTestDriver(t *testing.T) *Driver {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Port = 8080
	cfg.Interfaces = map[netip.Addr]string{vip4: "v0", vip6: "v0"}
	d, err := New(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// on finds an address on v0; nil: it is not there.
func on(t *testing.T, a netip.Addr) *netlink.Addr {
	t.Helper()
	l, err := netlink.LinkByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Fatal(err)
	}
	for _, x := range addrs {
		if ip, ok := netip.AddrFromSlice(x.IP); ok && ip.Unmap() == a {
			return &x
		}
	}
	return nil
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10s", what)
		}
	}
}

// TestHold: how an address is put on, that it stays while the lease is renewed
// and goes when it is not, for both families.
func TestHold(t *testing.T) {
	if !private(t) {
		return
	}
	run(t, "ip", "addr", "add", vip4.String()+"/24", "dev", "v0") // left over
	d := newTestDriver(t)
	if on(t, vip4) != nil {
		t.Error("an address that was there before the driver is still there")
	}
	if _, err := d.Acquire(t.Context(), addressOf(vip4, 24)); !errors.Is(err, guard.ErrLeaseOver) {
		t.Fatalf("Acquire without a lease: %v", err)
	}
	d.Renew(bootTime().Add(time.Minute))
	for _, a := range []table.Address{addressOf(vip4, 24), addressOf(vip6, 64)} {
		ln, err := d.Acquire(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		got := on(t, a.Addr())
		if got == nil {
			t.Fatalf("%s is not there", a.Addr())
		}
		ones, _ := got.Mask.Size()
		// In 10.77.0.0/24 the interface has an address, in 2001:db8::/64 none.
		if want := map[bool]int{true: 32, false: 64}[a.Addr().Is4()]; ones != want {
			t.Errorf("%s is there with /%d, want /%d", a.Addr(), ones, want)
		}
		if got.ValidLft > 1 || got.PreferedLft != 0 || got.Flags&unix.IFA_F_DEPRECATED == 0 || got.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Errorf("%s is there as %+v", a.Addr(), got)
		}
		go echo(ln)
		// The kernel puts an IPv6 address into its tables a moment after it is there.
		eventually(t, "the address answers", func() bool { return knockAt(netip.AddrPortFrom(a.Addr(), 8080)) == nil })
	}
	time.Sleep(2500 * time.Millisecond) // longer than the kernel keeps an address
	eventually(t, "the addresses are renewed", func() bool { return on(t, vip4) != nil && on(t, vip6) != nil })
	run(t, "ip", "addr", "del", vip4.String()+"/32", "dev", "v0")
	eventually(t, "an address that somebody takes off is put on again", func() bool { return on(t, vip4) != nil })
	d.Release(vip4)
	if on(t, vip4) != nil || on(t, vip6) == nil {
		t.Error("Release took the wrong address off, or none")
	}
	d.Renew(bootTime()) // seen at the end told before, or at the next renewal
	eventually(t, "the lease's end takes the address off", func() bool { return on(t, vip6) == nil })
}

func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "hello")
		c.Close()
	}
}

func knockAt(at netip.AddrPort) error {
	c, err := net.DialTimeout("tcp", at.String(), 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil || string(b) != "hello" {
		return fmt.Errorf("%s answers %q, %v", at, b, err)
	}
	return nil
}

// TestGuardKilled: without its guard the node takes the addresses off itself, and
// holds them again with another one.
func TestGuardKilled(t *testing.T) {
	if !private(t) {
		return
	}
	d := newTestDriver(t)
	d.Renew(bootTime().Add(time.Minute))
	ln, err := d.Acquire(t.Context(), addressOf(vip4, 24))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(d.GuardPid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the guard's death: %v", err)
	}
	eventually(t, "the address is off", func() bool { return on(t, vip4) == nil })
	if _, err := d.Acquire(t.Context(), addressOf(vip4, 24)); err != nil || on(t, vip4) == nil {
		t.Errorf("with another guard: %v", err)
	}
	// A frozen guard does not keep Release from its work.
	pid := d.GuardPid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.Release(vip4)
	if on(t, vip4) != nil {
		t.Error("the address stays with a frozen guard")
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// TestGuardFrozen: a frozen guard renews nothing, and the kernel takes the address
// off by itself; the guard does not bring it back when it wakes up.
func TestGuardFrozen(t *testing.T) {
	if !private(t) {
		return
	}
	d := newTestDriver(t)
	for _, a := range []table.Address{addressOf(vip4, 24), addressOf(vip6, 64)} {
		d.Renew(bootTime().Add(500 * time.Millisecond))
		ln, err := d.Acquire(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		pid := d.GuardPid()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		eventually(t, "the kernel takes the address off", func() bool { return on(t, a.Addr()) == nil })
		t.Logf("%s: gone %s after the guard was frozen", a.Addr(), time.Since(began))
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
		if on(t, a.Addr()) != nil {
			t.Error("the guard brought the address back")
		}
	}
}

// TestUnfit: the carrier goes and comes back.
func TestUnfit(t *testing.T) {
	if !private(t) {
		return
	}
	d := newTestDriver(t)
	changed := make(chan struct{}, 16)
	d.Notify(func() { changed <- struct{}{} })
	if err := d.Unfit(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"down", "up"} {
		run(t, "ip", "link", "set", "v1", want)
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("nobody noticed that the carrier went %s", want)
		}
		if err := d.Unfit(); (err != nil) != (want == "down") || err != nil && !strings.Contains(err.Error(), "v0") {
			t.Errorf("carrier %s: %v", want, err)
		}
	}
}

// TestRefusals: what is wrong is said at the start.
func TestRefusals(t *testing.T) {
	if !private(t) {
		return
	}
	for text, edit := range map[string]func(*Config){
		"no such":         func(c *Config) { c.Interfaces[vip4] = "eth7" },
		"no Ethernet":     func(c *Config) { c.Interfaces[vip4] = "lo" },
		"port is 0":       func(c *Config) { c.Port = 0 },
		"has no interfac": func(c *Config) { c.Interfaces[vip4] = "" },
		"quiet is 0s":     func(c *Config) { c.Quiet = 0 },
		"disable_ipv6=0": func(c *Config) {
			run(t, "sysctl", "-q", "-w", "net.ipv6.conf.v1.disable_ipv6=1")
			c.Interfaces[vip6] = "v1"
		},
	} {
		cfg := DefaultConfig()
		cfg.Port, cfg.Interfaces = 8080, map[netip.Addr]string{vip4: "v0"}
		edit(&cfg)
		d, err := New(context.Background(), cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), text) && text != "no such" {
			t.Errorf("want an error with %q, got %v", text, err)
		}
	}
}

// TestSecondInterface: an address with two interfaces goes to the other one when
// the first loses its carrier, and its connections go on; the node is unfit only
// without both.
func TestSecondInterface(t *testing.T) {
	if !private(t) {
		return
	}
	run(t, "ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1")
	run(t, "ip", "addr", "add", "10.77.0.12/24", "dev", "w0")
	run(t, "ip", "link", "set", "w0", "up")
	run(t, "ip", "link", "set", "w1", "up")
	cfg := DefaultConfig()
	cfg.Port = 8080
	cfg.Interfaces = map[netip.Addr]string{vip4: "v0, w0"}
	d, err := New(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	d.Renew(bootTime().Add(time.Minute))
	ln, err := d.Acquire(t.Context(), addressOf(vip4, 24))
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	seat := func() string {
		out, err := exec.Command("ip", "-o", "-4", "addr", "show", "to", vip4.String()).Output()
		if err != nil {
			t.Fatal(err)
		}
		var on []string
		for line := range strings.Lines(string(out)) {
			on = append(on, strings.Fields(line)[1])
		}
		return strings.Join(on, " ")
	}
	changed := make(chan struct{}, 16)
	d.Notify(func() { changed <- struct{}{} })
	for _, step := range []struct{ down, up, want string }{{"v1", "", "w0"}, {"", "v1", "w0"}, {"w1", "", "v0"}} {
		if step.down != "" {
			run(t, "ip", "link", "set", step.down, "down")
		} else {
			run(t, "ip", "link", "set", step.up, "up")
		}
		<-changed
		if err := d.Unfit(); err != nil {
			t.Errorf("with one interface of two: %v", err)
		}
		eventually(t, "the address on "+step.want, func() bool { return seat() == step.want })
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
			t.Fatalf("the connection is broken: %v", err)
		}
	}
	run(t, "ip", "link", "set", "v1", "down")
	<-changed
	if err := d.Unfit(); err == nil || !strings.Contains(err.Error(), "v0 w0") {
		t.Errorf("Unfit = %v without any interface", err)
	}
	d.Release(vip4)
	if s := seat(); s != "" {
		t.Errorf("released, and on %s", s)
	}
}
