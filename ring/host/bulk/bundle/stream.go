package bundle

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// Window is how far the writer may be ahead of the peer's reader, in bytes.
	Window = 4 << 20
	// maxEarly bounds how many pieces may wait for one before them.
	maxEarly = 4096
	// linger is how long Close waits for the peer to have everything.
	linger = 5 * time.Second
)

// ErrNoLeg says that all connections of a stream ended, and no new one came.
var ErrNoLeg = errors.New("bundle: no connection to the peer is left")

// Config is what a Stream is told.
type Config struct {
	// Orphan is how long a Stream without a leg waits for a new one. Default 3s.
	Orphan time.Duration
	// Patience is the least time without an acknowledgement after which a leg's
	// pieces go over others as well. Default 150ms; less sends more twice.
	Patience time.Duration
	// Pace, if not nil, is asked before each piece of so many bytes goes out, and
	// returns how long it must wait. It must not block.
	Pace func(n int) time.Duration
	// More is after how many bytes, both ways together, Want tells that another
	// leg is worth its while. Default 128 KiB.
	More uint64
}

// DefaultConfig is for a LAN.
func DefaultConfig() Config {
	return Config{Orphan: 3 * time.Second, Patience: 150 * time.Millisecond, More: 128 << 10}
}

// piece is a part of what was written.
type piece struct {
	off  uint64
	data []byte
	done bool // the peer has it
	cut  bool // it was sent: it stays as it is
}

func (p *piece) end() uint64 { return p.off + uint64(len(p.data)) }

// Stream is one end. It is a net.Conn, but for its addresses, which are those of
// its first leg. Read, Write and Carry may be called by many goroutines.
type Stream struct {
	cfg  Config
	want chan struct{}
	done chan struct{} // closed with err
	ran  sync.WaitGroup

	mu    sync.Mutex
	cond  *sync.Cond
	legs  []*leg
	addrs [2]net.Addr
	err   error // why it ended
	last  *time.Timer

	queue []*piece // to be sent, by offset
	kept  []*piece // sent and not known to be there, by offset
	sent  uint64   // end of what was written
	there uint64   // the peer has all before
	read  uint64   // and its program has read all before
	fin   bool     // no more will be written
	asked bool     // for a second leg

	next    uint64 // first byte missing
	early   map[uint64][]byte
	ready   [][]byte
	eaten   uint64 // bytes that were read
	told    uint64 // so many of them the peer knows of
	peerEnd uint64
	peerFin bool

	readBy, writeBy limit
	watch           *time.Timer
}

// limit is a deadline.
type limit struct {
	at    time.Time
	timer *time.Timer
}

func (l *limit) passed() bool { return !l.at.IsZero() && !time.Now().Before(l.at) }

// New makes a Stream without a leg; see Carry. It takes the addresses of the
// connection that is to be the first.
func New(cfg Config, like net.Conn) *Stream {
	s := &Stream{cfg: cfg, want: make(chan struct{}, 1), done: make(chan struct{}), early: map[uint64][]byte{}}
	s.cond = sync.NewCond(&s.mu)
	s.addrs = [2]net.Addr{like.LocalAddr(), like.RemoteAddr()}
	return s
}

// Want tells when another leg would be of use.
func (s *Stream) Want() <-chan struct{} { return s.want }

// Done is closed when the stream has ended.
func (s *Stream) Done() <-chan struct{} { return s.done }

// ask is called with the lock.
func (s *Stream) ask() {
	select {
	case s.want <- struct{}{}:
	default:
	}
}

// traffic notes when enough has passed for a second leg.
func (s *Stream) traffic() {
	if !s.asked && s.sent+s.next > s.cfg.More {
		s.asked = true
		s.ask()
	}
}

// Write waits while the peer's program is Window bytes behind.
func (s *Stream) Write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		for s.err == nil && !s.fin && !s.writeBy.passed() && (s.sent-s.read >= Window || len(s.queue)+len(s.kept) >= maxEarly/2) {
			s.cond.Wait()
		}
		switch {
		case s.err != nil:
			return n, s.err
		case s.fin:
			return n, net.ErrClosed
		case s.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		}
		take := min(len(b), MaxPiece, int(Window-(s.sent-s.read)))
		if k := len(s.queue) - 1; k >= 0 && !s.queue[k].cut && s.queue[k].end() == s.sent && len(s.queue[k].data)+take <= MaxPiece {
			s.queue[k].data = append(s.queue[k].data, b[:take]...)
		} else {
			s.queue = append(s.queue, &piece{off: s.sent, data: slices.Clone(b[:take])})
		}
		s.sent += uint64(take)
		b = b[take:]
		n += take
		s.traffic()
		s.cond.Broadcast()
	}
	return n, nil
}

// Read returns io.EOF when the peer has closed and all was read.
func (s *Stream) Read(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) == 0 {
		switch {
		case s.peerFin && s.next == s.peerEnd:
			return 0, io.EOF
		case s.err != nil:
			return 0, s.err
		case s.fin:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		s.cond.Wait()
	}
	for n < len(b) && len(s.ready) > 0 {
		k := copy(b[n:], s.ready[0])
		n += k
		if s.ready[0] = s.ready[0][k:]; len(s.ready[0]) == 0 {
			s.ready = s.ready[1:]
		}
	}
	s.eaten += uint64(n)
	if s.eaten-s.told >= Window/8 {
		s.ackSoon()
	}
	return n, nil
}

// take takes a piece that came. It is called with the lock.
func (s *Stream) take(off uint64, data []byte) error {
	end := off + uint64(len(data))
	switch {
	case end > s.eaten+Window+MaxPiece || s.peerFin && end > s.peerEnd:
		return errFrame
	case off < s.next:
		return nil // had it: pieces are cut once and for all
	case off > s.next:
		if len(s.early) >= maxEarly {
			return errFrame
		}
		s.early[off] = data
		return nil
	}
	for data != nil {
		s.ready = append(s.ready, data)
		s.next += uint64(len(data))
		data = s.early[s.next]
		delete(s.early, s.next)
	}
	s.traffic()
	s.cond.Broadcast()
	return nil
}

// arrived notes what the peer has, and has read. It is called with the lock.
func (s *Stream) arrived(next, eaten uint64) error {
	if next > s.sent {
		return errFrame
	}
	s.there, s.read = max(s.there, next), max(s.read, eaten)
	for _, p := range s.kept {
		if p.end() <= s.there {
			p.done = true
		}
	}
	s.kept = slices.DeleteFunc(s.kept, func(p *piece) bool { return p.done })
	s.cond.Broadcast()
	return nil
}

// again queues what a leg did not deliver for the others.
func (s *Stream) again(l *leg) {
	for _, f := range l.flying {
		p := f.piece
		if p.done || p.end() <= s.there {
			continue
		}
		at, found := slices.BinarySearchFunc(s.queue, p, func(a, b *piece) int { return int(int64(a.off) - int64(b.off)) })
		if !found {
			s.queue = slices.Insert(s.queue, at, p)
		}
	}
	s.cond.Broadcast()
}

// Close says that no more will be written, waits a while until the peer has
// everything, and ends the stream. The peer reads to its end.
func (s *Stream) Close() error {
	s.mu.Lock()
	s.fin = true
	s.cond.Broadcast()
	late := time.AfterFunc(linger, func() { s.Abort(net.ErrClosed) })
	for s.err == nil && !s.flushed() {
		s.cond.Wait()
	}
	late.Stop()
	s.mu.Unlock()
	s.end(net.ErrClosed, false)
	s.ran.Wait()
	return nil
}

// flushed reports whether Close need wait for nothing.
func (s *Stream) flushed() bool {
	if len(s.legs) == 0 {
		return true
	}
	return s.there == s.sent && !slices.ContainsFunc(s.legs, func(l *leg) bool { return !l.finSent && !l.stuck })
}

// Abort ends the stream and its legs without a farewell. It waits for nothing.
func (s *Stream) Abort(err error) { s.end(err, true) }

func (s *Stream) end(err error, rude bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
	for _, t := range []*time.Timer{s.last, s.watch, s.readBy.timer, s.writeBy.timer} {
		if t != nil {
			t.Stop()
		}
	}
	for _, l := range s.legs {
		l.end(rude)
	}
	s.cond.Broadcast()
}

// Alive reports whether an idle stream can be used again: it has a leg, and all
// that was written or came is read.
func (s *Stream) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && !s.peerFin && !s.fin && len(s.ready) == 0 && slices.ContainsFunc(s.legs, func(l *leg) bool { return !l.stuck })
}

// Legs is how many connections the stream has, and how many of them work.
func (s *Stream) Legs() (all, working int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.legs {
		if !l.stuck {
			working++
		}
	}
	return len(s.legs), working
}

func (s *Stream) LocalAddr() net.Addr  { return s.addrs[0] }
func (s *Stream) RemoteAddr() net.Addr { return s.addrs[1] }

func (s *Stream) SetDeadline(t time.Time) error {
	s.setLimit(&s.readBy, t)
	s.setLimit(&s.writeBy, t)
	return nil
}

func (s *Stream) SetReadDeadline(t time.Time) error {
	s.setLimit(&s.readBy, t)
	return nil
}

func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.setLimit(&s.writeBy, t)
	return nil
}

func (s *Stream) setLimit(l *limit, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.at = t
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if d := time.Until(t); !t.IsZero() && d > 0 && s.err == nil {
		l.timer = time.AfterFunc(d, s.wake)
	}
	s.cond.Broadcast()
}

func (s *Stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}
