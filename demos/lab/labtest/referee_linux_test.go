package labtest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rain/demos/lab/engine"
)

// referee looks, some hundred times a second and from outside of all nodes, which
// host has which virtual address on an interface, and until when the lease runs by
// which the guard there leaves it: the page that node and guard share. All hosts are
// on one machine, so all leases are told in one clock.
type referee struct {
	l    *lab
	vips []netip.Addr
	stop chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	hosts []*refereed
	seen  judgement
}

// judgement is what the referee has seen.
type judgement struct {
	looks int
	gap   time.Duration // longest between two looks
	both  []string      // two hosts had one address at a moment, and both leases ran
	late  int           // moments in which a host had an address after its lease
	// worst is the longest time for which an address was there after its lease; beside
	// is that with another who has it, too.
	worst, beside time.Duration
}

// refereed is one host.
type refereed struct {
	name string
	sock int           // a socket in the host's namespace
	pid  int           // of the node whose page this is
	page *atomic.Int64 // nil: not found yet
	has  map[netip.Addr]bool
	over int64 // since when no lease runs, as far as was seen; 0: one does
}

// judge starts a referee; the test fails if an address was ever had twice.
func (l *lab) judge(vips int) *referee {
	l.t.Helper()
	r := &referee{l: l, stop: make(chan struct{})}
	for i := range vips {
		r.vips = append(r.vips, netip.AddrFrom4([4]byte{10, 77, 100, byte(i + 1)}))
	}
	for _, n := range l.nodes {
		h := &refereed{name: n}
		l.inside(n, func() (err error) {
			h.sock, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			return err
		})
		r.hosts = append(r.hosts, h)
	}
	r.find()
	r.wg.Go(r.watch)
	r.wg.Go(r.search)
	l.t.Cleanup(func() { r.end() })
	return r
}

// inside runs f on a thread in a host's namespace; sockets that f opens stay there.
func (l *lab) inside(host string, f func() error) {
	l.t.Helper()
	ns, err := engine.Namespace(l.dir, host)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = ns.Close() }() // only looked at
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		l.t.Fatalf("in host %s: %v", host, err)
	}
}

// search looks for the pages of nodes that have started since, again and again.
func (r *referee) search() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r.mu.Lock()
		r.find()
		r.mu.Unlock()
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
	}
}

// find takes the page of the process that runs a host's node now; with the lock, once
// there is one. What was mapped
// before stays mapped: the test may be looking at it.
func (r *referee) find() {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return // the pattern is good
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		for _, h := range r.hosts {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil || pid == h.pid || !strings.Contains(string(b), filepath.Join(r.l.dir, h.name, "node.toml")) {
				continue
			}
			if mem, err := leasePage(pid); err == nil && mem != nil {
				h.pid, h.page, h.over = pid, (*atomic.Int64)(unsafe.Pointer(&mem[0])), 0
			}
		}
	}
}

// leasePage maps the page that a node and its guard share; nil: there is none yet.
func leasePage(pid int) ([]byte, error) {
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		path := fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())
		if to, err := os.Readlink(path); err != nil || !strings.Contains(to, "rain-guard-lease") {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // the mapping stays
		return unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	}
	return nil, nil
}

func bootClock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // in every Linux since 2.6.39
	}
	return ts.Nano()
}

func (r *referee) watch() {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	last := bootClock()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		r.mu.Lock()
		now := bootClock()
		r.seen.gap = max(r.seen.gap, time.Duration(now-last))
		last = now
		r.seen.looks++
		for _, h := range r.hosts {
			if h.look(r.vips, now); len(h.has) > 0 && unix.Kill(h.pid, 0) != nil {
				r.find() // its next life has the address already
			}
		}
		for _, v := range r.vips {
			r.compare(v)
		}
		r.mu.Unlock()
	}
}

// look notes what a host has.
func (h *refereed) look(vips []netip.Addr, now int64) {
	switch end := h.until(); {
	case end > now:
		h.over = 0
	case h.over == 0:
		h.over = now
		if end > 0 { // else it was taken back
			h.over = end
		}
	}
	h.has = map[netip.Addr]bool{}
	for _, a := range addresses(h.sock) {
		if slices.Contains(vips, a) {
			h.has[a] = true
		}
	}
}

// until is when the lease ends by which the guard leaves the host its addresses.
func (h *refereed) until() int64 {
	if h.page == nil {
		return 0
	}
	return h.page.Load()
}

// compare looks at those that have an address. Who had it before the look at another
// and has it after that has had it in between: so what is found is so.
func (r *referee) compare(v netip.Addr) {
	var first *refereed
	for _, h := range r.hosts {
		if !h.has[v] {
			continue
		}
		if now := bootClock(); h.over > 0 && h.until() <= now && slices.Contains(addresses(h.sock), v) {
			r.seen.late++
			r.seen.worst = max(r.seen.worst, time.Duration(now-h.over))
		}
		if first == nil {
			first = h
			continue
		}
		// Each again, and the first once more: it had the address all the while.
		a, b := first.holds(v), h.holds(v)
		again := slices.Contains(addresses(first.sock), v)
		switch {
		case !again || a == 0 || b == 0:
		case a > 0 && b > 0:
			r.seen.both = append(r.seen.both, fmt.Sprintf("%s: %s (lease for %v more) and %s (%v)", v, first.name, a, h.name, b))
		default:
			r.seen.beside = max(r.seen.beside, -min(a, b))
		}
	}
}

// holds is for how long the lease still runs by which the host has the address now;
// below 0: for how long it has been over. 0: the address is gone.
func (h *refereed) holds(v netip.Addr) time.Duration {
	now := bootClock()
	end := h.until()
	if end <= now && h.over > 0 {
		end = min(h.over, now-1)
	}
	if !slices.Contains(addresses(h.sock), v) {
		return 0
	}
	return time.Duration(end - now)
}

// addresses are those of all interfaces in the namespace of a socket.
func addresses(sock int) (out []netip.Addr) {
	const size = 40 // of a struct ifreq
	var buf [32 * size]byte
	conf := struct {
		n   int32
		_   int32
		buf *byte
	}{n: int32(len(buf)), buf: &buf[0]}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(sock), unix.SIOCGIFCONF, uintptr(unsafe.Pointer(&conf))); errno != 0 {
		return nil
	}
	for at := 0; at+size <= int(conf.n); at += size {
		if a, ok := netip.AddrFromSlice(buf[at+20 : at+24]); ok {
			out = append(out, a)
		}
	}
	return out
}

// ends are until when the leases of the nodes run.
func (r *referee) ends() map[string]time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := bootClock()
	out := map[string]time.Duration{}
	for _, h := range r.hosts {
		if h.page != nil {
			out[h.name] = time.Duration(h.until() - now)
		}
	}
	return out
}

// end stops the referee and says what it saw.
func (r *referee) end() judgement {
	select {
	case <-r.stop:
		return r.seen
	default:
		close(r.stop)
	}
	r.wg.Wait()
	for _, h := range r.hosts {
		_ = unix.Close(h.sock) // nothing was sent
	}
	return r.seen
}

// clean fails if an address was had twice.
func (r *referee) clean(t *testing.T) {
	t.Helper()
	j := r.end()
	t.Logf("referee: %d looks, at most %v apart: %d overlaps of leases; %d times an address was there after its lease, at most %v; beside another's %v",
		j.looks, j.gap.Round(time.Millisecond), len(j.both), j.late, j.worst.Round(100*time.Microsecond), j.beside.Round(100*time.Microsecond))
	if len(j.both) > 0 {
		t.Errorf("two nodes acted on one address at a moment, %d times: %s", len(j.both), strings.Join(j.both[:min(len(j.both), 5)], "; "))
	}
	if j.looks < 10 {
		t.Errorf("the referee looked %d times only", j.looks)
	}
}
