//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring"
	"rain/ring/host/seal"
)

const (
	echoArg    = "echo" // makes this program the far end of a ping-pong
	hopBytes   = 300    // about an idle token
	hopSamples = 1000
)

// hops measures a token's hop beside a bare UDP ping-pong of the same size and at
// the same pace, in the same minute, and what sealing adds. Both are half of the
// way there and back.
func hops(ctx context.Context, c *cluster, o options) error {
	rounds := o.n
	if rounds == 0 {
		rounds = 3
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	fmt.Printf("sealing and opening %d bytes: %v\n", hopBytes, sealing())
	for range rounds {
		var pace time.Duration
		var text []string
		for _, n := range c.file.Nodes {
			st, err := c.status(ctx, n)
			if err != nil {
				return err
			}
			text = append(text, fmt.Sprintf("%d/%d", st.Ring.HopP50US, st.Ring.HopP99US))
			pace = time.Duration(float64(time.Second) / max(st.Ring.RotationsPS, 1))
		}
		fmt.Printf("token hops, p50/p99 us, by node: %s; load %s\n", strings.Join(text, " "), load())
		for _, kind := range []struct {
			name   string
			every  time.Duration
			thread bool
		}{{"package net, at the token's pace", pace, false}, {"a thread that waits in the kernel, at that pace", pace, true}, {"package net, without a pause", 0, false}} {
			p50, p99, err := pingPong(ctx, kind.every, kind.thread)
			if err != nil {
				return err
			}
			fmt.Printf("  bare UDP, %s: %.0f/%.0f\n", kind.name, us(p50), us(p99))
		}
	}
	return nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// sealing is what a datagram's seal costs both ends.
func sealing() time.Duration {
	ring1, err := seal.NewKeyring(make([]byte, seal.KeySize))
	if err != nil {
		panic(err) // a key of the right size
	}
	a, b := ring.Member{ID: 1, Inc: 1}, ring.Member{ID: 2, Inc: 1}
	from, to := ring1.Session(a, b), ring1.Session(b, a)
	body, buf, out := make([]byte, hopBytes), []byte(nil), []byte(nil)
	start := time.Now()
	for range hopSamples {
		buf = from.Seal(buf[:0], body)
		if out, err = to.Open(out[:0], buf); err != nil {
			panic(err) // sealed by ourselves
		}
	}
	return time.Since(start) / hopSamples
}

// pingPong sends datagrams to another process and back, and returns half of what
// that takes.
func pingPong(ctx context.Context, every time.Duration, thread bool) (p50, p99 time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	args := []string{echoArg}
	if thread {
		args = append(args, "thread")
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
	var at string
	if _, err := fmt.Fscanln(out, &at); err != nil {
		return 0, 0, fmt.Errorf("the far end said nothing: %w", err)
	}
	to, err := netip.ParseAddrPort(at)
	if err != nil {
		return 0, 0, err
	}
	var times []time.Duration
	if thread {
		times, err = pingThread(ctx, to, every)
	} else {
		times, err = pingNet(ctx, to, every)
	}
	if err != nil {
		return 0, 0, err
	}
	slices.Sort(times)
	return times[len(times)/2] / 2, times[len(times)*99/100] / 2, nil
}

func pingNet(ctx context.Context, to netip.AddrPort, every time.Duration) (times []time.Duration, err error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	buf := make([]byte, hopBytes)
	for len(times) < hopSamples && sleep(ctx, every) {
		if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := c.Write(buf); err != nil {
			return nil, err
		}
		if _, err := c.Read(buf); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times, ctx.Err()
}

func pingThread(ctx context.Context, to netip.AddrPort, every time.Duration) (times []time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}),
		unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}),
	); err != nil {
		return nil, err
	}
	buf := make([]byte, hopBytes)
	for len(times) < hopSamples && sleep(ctx, every) {
		start := time.Now()
		if _, err := unix.Write(fd, buf); err != nil {
			return nil, err
		}
		if _, err := unix.Read(fd, buf); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times, ctx.Err()
}

// echo is the far end: it tells its address and sends back what comes, until it
// is killed.
func echo(thread bool) error {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr())
	buf := make([]byte, 2048)
	if !thread {
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return err
			}
			if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return err
			}
		}
	}
	runtime.LockOSThread()
	f, err := c.File()
	if err != nil {
		return err
	}
	fd := int(f.Fd()) // blocking
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, buf[:n], 0, from); err != nil {
			return err
		}
	}
}
