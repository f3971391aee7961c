package bundle

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// cable is a TCP connection over loopback whose bytes one can hold up, limit to
// a rate, or lose for good.
type cable struct {
	t    *testing.T
	ends [2]net.Conn
	rate float64 // bytes a second; 0: no limit
	mu   sync.Mutex
	dead chan struct{} // closed: nothing moves any more, and nobody is told
	done chan struct{}
	wg   sync.WaitGroup
	sent [2]int
}

// newCable makes two pipes with a forwarder between them.
func newCable(t *testing.T, rate float64) *cable {
	c := &cable{t: t, rate: rate, dead: make(chan struct{}), done: make(chan struct{})}
	var far [2]net.Conn
	for i := range c.ends {
		c.ends[i], far[i] = tcp(t)
	}
	for i := range far {
		c.wg.Go(func() { c.forward(i, far[i], far[1-i]) })
	}
	t.Cleanup(func() {
		close(c.done)
		for i := range far {
			c.ends[i].Close()
			far[i].Close()
		}
		c.wg.Wait()
	})
	return c
}

func tcp(t *testing.T) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func (c *cable) forward(dir int, from, to net.Conn) {
	buf := make([]byte, 16<<10)
	free := time.Now()
	for {
		n, err := from.Read(buf)
		if err != nil {
			to.Close()
			return
		}
		if c.rate > 0 {
			free = free.Add(time.Duration(float64(n) / c.rate * 1e9))
			time.Sleep(time.Until(free))
			if late := time.Since(free); late > 50*time.Millisecond {
				free = free.Add(late - 50*time.Millisecond)
			}
		}
		select {
		case <-c.dead:
			<-c.done
			return
		default:
		}
		c.mu.Lock()
		c.sent[dir] += n
		c.mu.Unlock()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (c *cable) count(dir int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent[dir]
}

// pair makes two Streams over cables.
func pair(t *testing.T, cables ...*cable) (a, b *Stream) {
	t.Helper()
	cfg := DefaultConfig()
	a, b = New(cfg, cables[0].ends[0]), New(cfg, cables[0].ends[1])
	var wg sync.WaitGroup
	for _, c := range cables {
		wg.Go(func() { _ = a.Carry(c.ends[0], c.ends[0]) })
		wg.Go(func() { _ = b.Carry(c.ends[1], c.ends[1]) })
	}
	t.Cleanup(func() {
		a.Abort(net.ErrClosed)
		b.Abort(net.ErrClosed)
		wg.Wait()
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		n, _ := a.Legs()
		m, _ := b.Legs()
		if n == len(cables) && m == n {
			return a, b
		}
		if time.Now().After(end) {
			t.Fatalf("%d and %d legs", n, m)
		}
	}
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// send writes all and closes a; it returns what b read, and how long that took.
func send(t *testing.T, a, b *Stream, data []byte) time.Duration {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := a.Write(data); err != nil {
			t.Errorf("Write = %v", err)
		}
		a.Close()
	})
	got, err := io.ReadAll(b)
	took := time.Since(start)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes of %d, equal %v, error %v", len(got), len(data), bytes.Equal(got, data), err)
	}
	return took
}

func TestStreamOverSeveralLegs(t *testing.T) {
	for legs := 1; legs <= 3; legs++ {
		var cables []*cable
		for range legs {
			cables = append(cables, newCable(t, 0))
		}
		a, b := pair(t, cables...)
		send(t, a, b, noise(20<<20))
		for i, c := range cables {
			if c.count(0) == 0 {
				t.Errorf("%d legs: leg %d carried nothing", legs, i)
			}
		}
	}
}

// Two links of a rate carry nearly twice as much as one.
func TestTwoLegsAddUp(t *testing.T) {
	const rate, size = 8e6, 8 << 20
	one := newCable(t, rate)
	a, b := pair(t, one)
	single := send(t, a, b, noise(size))
	two := []*cable{newCable(t, rate), newCable(t, rate)}
	a, b = pair(t, two...)
	double := send(t, a, b, noise(size))
	t.Logf("%d MiB over one link of %.0f MB/s: %v; over two: %v; %.2f times", size>>20, rate/1e6, single, double, single.Seconds()/double.Seconds())
	// 1.9 times on an idle machine; this one may be busy.
	for i, c := range two {
		if c.count(0) < size/4 {
			t.Errorf("link %d of two equal ones carried %d of %d bytes", i, c.count(0), size)
		}
	}
}

// The pace is asked once for each piece that goes out, and its waits are kept.
func TestPace(t *testing.T) {
	x, y := newCable(t, 0), newCable(t, 0)
	cfg := DefaultConfig()
	var mu sync.Mutex
	asked, waits := 0, time.Duration(0)
	cfg.Pace = func(n int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		asked += n
		waits += time.Millisecond
		return time.Millisecond
	}
	a, b := New(cfg, x.ends[0]), New(DefaultConfig(), x.ends[1])
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, c := range []*cable{x, y} {
		wg.Go(func() { _ = a.Carry(c.ends[0], c.ends[0]) })
		wg.Go(func() { _ = b.Carry(c.ends[1], c.ends[1]) })
	}
	const size = 4 << 20
	took := send(t, a, b, noise(size))
	b.Close()
	mu.Lock()
	defer mu.Unlock()
	if asked < size {
		t.Errorf("asked for %d of %d bytes", asked, size)
	}
	if least := waits / 2 / 2; took < least { // two legs wait at once, and each may hold a time for a piece it did not get
		t.Errorf("%v in all, though the pieces had to wait for %v", took, waits)
	}
}

// A link that dies without a word costs time, but no byte.
func TestLegDiesMidway(t *testing.T) {
	for name, kill := range map[string]func(*cable){
		"silent": func(c *cable) { close(c.dead) },
		"closed": func(c *cable) { c.ends[0].Close() },
	} {
		t.Run(name, func(t *testing.T) {
			good, bad := newCable(t, 20e6), newCable(t, 20e6)
			a, b := pair(t, good, bad)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			defer wg.Wait()
			defer close(stop)
			wg.Go(func() {
				for bad.count(0) < 2<<20 {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
				}
				kill(bad)
			})
			send(t, a, b, noise(16<<20))
			if bad.count(0) < 2<<20 {
				t.Error("the link did not die midway")
			}
		})
	}
}

// All legs die; a new one comes in time.
func TestNewLegGoesOn(t *testing.T) {
	first := newCable(t, 10e6)
	a, b := pair(t, first)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for first.count(0) < 1<<20 {
			time.Sleep(time.Millisecond)
		}
		first.ends[0].Close()
		first.ends[1].Close()
		second := newCable(t, 0)
		wg.Go(func() { _ = a.Carry(second.ends[0], second.ends[0]) })
		wg.Go(func() { _ = b.Carry(second.ends[1], second.ends[1]) })
	})
	send(t, a, b, noise(6<<20))
}

func TestNoLegIsLeft(t *testing.T) {
	c := newCable(t, 0)
	cfg := DefaultConfig()
	cfg.Orphan = 10 * time.Millisecond
	a, b := New(cfg, c.ends[0]), New(cfg, c.ends[1])
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = a.Carry(c.ends[0], c.ends[0]) })
	wg.Go(func() { _ = b.Carry(c.ends[1], c.ends[1]) })
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.ends[0].Close()
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, ErrNoLeg) {
		t.Errorf("Read = %v", err)
	}
	<-a.Done()
	if _, err := a.Write([]byte("x")); !errors.Is(err, ErrNoLeg) {
		t.Errorf("Write = %v", err)
	}
}

func TestWriterWaitsForTheReader(t *testing.T) {
	a, b := pair(t, newCable(t, 0), newCable(t, 0))
	if err := a.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := a.Write(make([]byte, 3*Window))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n != Window {
		t.Fatalf("Write = %d, %v; want %d and a deadline", n, err, Window)
	}
	if err := b.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, make([]byte, Window)); err != nil {
		t.Fatal(err)
	}
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("more")); err != nil {
		t.Errorf("after the reader caught up: %v", err)
	}
}

func TestSmallTalk(t *testing.T) {
	a, b := pair(t, newCable(t, 0), newCable(t, 0))
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		var buf [5]byte
		for {
			if _, err := io.ReadFull(b, buf[:]); err != nil {
				if err != io.EOF {
					t.Errorf("Read = %v", err)
				}
				b.Close()
				return
			}
			if _, err := b.Write(buf[:]); err != nil {
				t.Errorf("Write = %v", err)
			}
		}
	})
	for range 2000 {
		var buf [5]byte
		if _, err := a.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a, buf[:]); err != nil || string(buf[:]) != "hello" {
			t.Fatalf("%q, %v", buf, err)
		}
	}
	if !a.Alive() {
		t.Error("a stream at rest cannot be used again")
	}
	a.Close()
}

func FuzzFrames(f *testing.F) {
	f.Add(appendData(nil, 5, []byte("hello")))
	f.Add(appendAck(appendFin(nil, 9), 1, 2, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		s := New(DefaultConfig(), here)
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Carry(here, here) })
		wg.Go(func() { _, _ = io.Copy(io.Discard, there) })
		_, _ = s.Write([]byte("something"))
		_, _ = there.Write(b)
		there.Close()
		s.Abort(net.ErrClosed)
		wg.Wait()
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			fr, err := readFrame(r)
			if err != nil {
				return
			}
			var out []byte
			switch fr.kind {
			case frameData:
				out = appendData(nil, fr.off, fr.data)
			case frameAck:
				out = appendAck(nil, fr.on, fr.next, fr.eaten)
			case frameFin:
				out = appendFin(nil, fr.off)
			}
			if !bytes.HasPrefix(b, out) {
				t.Fatalf("%x read as %x", b, out)
			}
			b = b[len(out):]
		}
	})
}
