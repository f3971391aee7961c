package engine

import (
	"container/heap"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"rain/demos/lab/fabric"
)

// pump carries frames between the ports and the fabric in real time.
type pump struct {
	mu      sync.Mutex
	net     *fabric.Net
	start   time.Time
	sinks   []sink // by port
	late    frames // that wait for their time
	queued  []int  // of those, by port
	taps    map[int]*capture
	wake    chan struct{}
	stopped chan struct{}
	workers sync.WaitGroup
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
	soon    = 500 * time.Microsecond
)

func newPump(net *fabric.Net) *pump {
	p := &pump{net: net, start: time.Now(), taps: map[int]*capture{}, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	p.workers.Go(p.deliverLate)
	return p
}

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
	first := time.Duration(-1)
	if len(p.late) > 0 {
		first = p.late[0].at
	}
	for _, d := range p.net.Send(now, port, frame) {
		// To wait for less than the system's clock can tell apart costs more than it
		// is worth; but nothing overtakes what waits.
		if d.At <= now || d.At <= now+soon && p.queued[d.Port] == 0 {
			p.give(d.Port, now, frame)
			continue
		}
		if len(p.late) < maxLate {
			p.queued[d.Port]++
			heap.Push(&p.late, waiting{d.At, uint64(len(p.late)) + uint64(now), d.Port, append([]byte(nil), frame...)})
		}
	}
	if len(p.late) > 0 && p.late[0].at != first {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

func (p *pump) give(port int, now time.Duration, frame []byte) {
	p.capture(port, now, frame)
	p.sinks[port](frame)
}

func (p *pump) deliverLate() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p.mu.Lock()
		now := p.now()
		for len(p.late) > 0 && p.late[0].at <= now {
			w := heap.Pop(&p.late).(waiting)
			p.queued[w.port]--
			p.give(w.port, now, w.frame)
		}
		next := time.Hour
		if len(p.late) > 0 {
			next = p.late[0].at - now
		}
		p.mu.Unlock()
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.stopped:
			return
		}
	}
}

// read carries what a host sends until its TAP is closed.
func (p *pump) read(port int, tap *os.File) error {
	buf := make([]byte, 65536)
	for {
		n, err := tap.Read(buf)
		if errors.Is(err, fs.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		p.send(port, buf[:n])
	}
}

func (p *pump) stop() {
	close(p.stopped)
	p.workers.Wait()
}

// edit changes the net between two frames.
func (p *pump) edit(f func(*fabric.Net) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f(p.net)
}
