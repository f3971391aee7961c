package engine

import (
	"container/heap"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rain/demos/lab/box"
	"rain/demos/lab/fabric"
)

// pump carries frames between the ports and the fabric in real time. One thread of
// its own waits for all hosts and for all frames that are due: a frame costs no
// switch between threads.
type pump struct {
	mu      sync.Mutex
	net     *fabric.Net
	start   time.Time
	sinks   []sink // by port
	late    frames // that wait for their time
	queued  []int  // of those, by port
	order   uint64 // of the last one
	taps    map[int]*capture
	poll    int // epoll, with all hosts and:
	timer   int // timerfd: when the first late frame is due
	bell    int // eventfd: it is over
	due     time.Duration
	workers sync.WaitGroup
}

// tapPort is an interface and its port in the fabric.
type tapPort struct {
	tap  *box.Tap
	port int
}

// sink takes the frames of a port. It must not block and must not keep them.
type sink func(frame []byte)

type waiting struct {
	at    time.Duration
	order uint64
	port  int
	frame []byte
}

// frames is a heap by time, then by arrival.
type frames []waiting

func (f frames) Len() int { return len(f) }
func (f frames) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].order < f[j].order
}
func (f frames) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *frames) Push(x any)   { *f = append(*f, x.(waiting)) }
func (f *frames) Pop() any {
	old := *f
	x := old[len(old)-1]
	old[len(old)-1] = waiting{}
	*f = old[:len(old)-1]
	return x
}

const (
	// maxLate bounds the memory of frames on their way.
	maxLate = 100_000
	soon    = 100 * time.Microsecond
)

func newPump(net *fabric.Net) *pump {
	return &pump{net: net, start: time.Now(), taps: map[int]*capture{}, poll: -1, timer: -1, bell: -1, due: never}
}

// never is when the timer rings without a late frame.
const never = time.Duration(1<<63 - 1)

func (p *pump) now() time.Duration { return time.Since(p.start) }

// attach tells where the frames of a port go. Ports are attached in order.
func (p *pump) attach(s sink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sinks = append(p.sinks, s)
	p.queued = append(p.queued, 0)
}

// send gives a frame from a port to the net.
func (p *pump) send(port int, frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.capture(port, now, frame)
	for _, d := range p.net.Send(now, port, frame) {
		// To wait for less than the system's clock can tell apart costs more than it
		// is worth; but nothing overtakes what waits.
		if d.At <= now || d.At <= now+soon && p.queued[d.Port] == 0 {
			p.give(d.Port, now, frame)
			continue
		}
		if len(p.late) < maxLate {
			p.queued[d.Port]++
			p.order++
			heap.Push(&p.late, waiting{d.At, p.order, d.Port, append([]byte(nil), frame...)})
		}
	}
	p.arm(now)
}

// arm sets the timer to the first late frame. The caller has the lock.
func (p *pump) arm(now time.Duration) {
	next := never
	if len(p.late) > 0 {
		next = p.late[0].at
	}
	if next == p.due || p.timer < 0 {
		return
	}
	p.due = next
	var at unix.ItimerSpec
	if next != never {
		at.Value = unix.NsecToTimespec(max(int64(next-now), 1))
	}
	_ = unix.TimerfdSettime(p.timer, 0, &at, nil) // only for a bad descriptor or time
}

func (p *pump) give(port int, now time.Duration, frame []byte) {
	p.capture(port, now, frame)
	p.sinks[port](frame)
}

// run starts the thread that carries what the hosts send. failed is told if it
// ends before stop.
func (p *pump) run(taps []tapPort, failed func(error)) error {
	var err [3]error
	p.poll, err[0] = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	p.timer, err[1] = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	p.bell, err[2] = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err := errors.Join(err[:]...); err != nil {
		return fmt.Errorf("lab: epoll: %w", err)
	}
	fds := []int{p.timer, p.bell}
	for _, t := range taps {
		fds = append(fds, t.tap.FD)
	}
	for i, fd := range fds {
		if err := unix.EpollCtl(p.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return fmt.Errorf("lab: epoll: %w", err)
		}
	}
	p.workers.Go(func() {
		runtime.LockOSThread()
		if err := p.loop(taps); err != nil {
			failed(err)
		}
	})
	return nil
}

func (p *pump) loop(taps []tapPort) error {
	events := make([]unix.EpollEvent, 64)
	buf := make([]byte, 65536)
	for {
		n, err := unix.EpollWait(p.poll, events, -1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("lab: epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			switch e.Fd {
			case 0:
				var rang [8]byte
				_, _ = unix.Read(p.timer, rang[:]) // what counts is the time
			case 1:
				return nil
			default:
				t := taps[e.Fd-2]
				if err := p.drain(t, buf); err != nil {
					return fmt.Errorf("lab: %s: %w", t.tap.Port.Name, err)
				}
			}
		}
		p.deliverLate()
	}
}

// burst is how many frames of one host are taken before the others' turn.
const burst = 16

func (p *pump) drain(t tapPort, buf []byte) error {
	for range burst {
		n, err := t.tap.Read(buf)
		switch err {
		case nil:
			p.send(t.port, buf[:n])
		case unix.EAGAIN:
			return nil
		case unix.EINTR:
		default:
			return err
		}
	}
	return nil
}

func (p *pump) deliverLate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.late) == 0 {
		return
	}
	now := p.now()
	for len(p.late) > 0 && p.late[0].at <= now {
		w := heap.Pop(&p.late).(waiting)
		p.queued[w.port]--
		p.give(w.port, now, w.frame)
	}
	p.arm(now)
}

// stop ends the thread and waits for it.
func (p *pump) stop() {
	if p.bell >= 0 {
		_, _ = unix.Write(p.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // it cannot be full
	}
	p.workers.Wait()
	for _, fd := range []*int{&p.poll, &p.timer, &p.bell} {
		if *fd >= 0 {
			_ = unix.Close(*fd) // ours alone
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.poll, p.timer, p.bell = -1, -1, -1
}

// edit changes the net between two frames.
func (p *pump) edit(f func(*fabric.Net) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f(p.net)
}
