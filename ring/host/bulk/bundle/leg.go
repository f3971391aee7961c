package bundle

import (
	"bufio"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// A leg may have between minLimit and Window bytes on their way. The limit
	// grows while a piece is acknowledged about as fast as on an empty leg, and
	// shrinks when pieces queue up.
	startLimit = 4 * MaxPiece
	minLimit   = 2 * MaxPiece
	slack      = 10 * time.Millisecond
	// ackAt is after how many bytes an acknowledgement goes at once; for less it
	// may wait for ackDelay, or for data that goes that way.
	ackAt    = MaxPiece / 2
	ackDelay = 20 * time.Millisecond
	// hopeless is when a leg on which nothing moves is closed.
	hopeless = 10 * time.Second
)

// leg is one connection of a stream. Its fields belong to the stream's lock.
type leg struct {
	conn  net.Conn
	kill  io.Closer // without a farewell
	ended bool
	stuck bool // nothing was acknowledged for long

	flying  []flight
	sent    uint64 // bytes of pieces
	acked   uint64
	limit   uint64
	srtt    time.Duration
	least   time.Duration
	moved   time.Time // when something was last acknowledged, or first sent
	finSent bool
	booked  bool      // the next piece has its time:
	goAt    time.Time // not before

	came    uint64 // bytes of pieces
	unacked uint64
	ackDue  bool
	delayed *time.Timer
}

type flight struct {
	*piece
	until uint64 // leg.acked from which on it has arrived
	at    time.Time
}

// end closes the leg; its goroutines see to the rest.
func (l *leg) end(rude bool) {
	if l.ended {
		return
	}
	l.ended = true
	if rude || l.stuck {
		_ = l.kill.Close() // nothing is left to be lost
	}
}

// Carry has a connection carry a part of the stream until it ends, and returns
// why. kill must close it without waiting; it is closed in any case.
func (s *Stream) Carry(conn net.Conn, kill io.Closer) error {
	l := &leg{conn: conn, kill: kill, limit: startLimit}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		_ = kill.Close()
		return s.err
	}
	s.ran.Add(1)
	defer s.ran.Done()
	s.legs = append(s.legs, l)
	if s.last != nil {
		s.last.Stop()
		s.last = nil
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := s.sendOn(l); err != nil {
			_ = kill.Close() // ends the reader
		} else {
			_ = conn.Close()
		}
	})
	err := s.readFrom(l)
	s.leave(l)
	_ = kill.Close()
	writer.Wait()
	return err
}

// leave takes a leg out of the stream.
func (s *Stream) leave(l *leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.ended = true
	if l.delayed != nil {
		l.delayed.Stop()
	}
	s.legs = slices.DeleteFunc(s.legs, func(o *leg) bool { return o == l })
	s.again(l)
	over := s.peerFin && s.next == s.peerEnd
	if s.err != nil || over && s.fin {
		return
	}
	if over && len(s.legs) == 0 { // the peer has closed: no new one will come
		s.err = net.ErrClosed
		close(s.done)
		s.cond.Broadcast()
		return
	}
	if len(s.legs) == 0 && s.last == nil {
		s.last = time.AfterFunc(s.cfg.Orphan, func() { s.Abort(ErrNoLeg) })
	}
	if !over {
		s.ask()
	}
}

// readFrom is the reading half of a leg.
func (s *Stream) readFrom(l *leg) error {
	r := bufio.NewReaderSize(l.conn, MaxPiece)
	for {
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		s.mu.Lock()
		switch f.kind {
		case frameData:
			if err = s.take(f.off, f.data); err == nil {
				s.came(l, uint64(len(f.data)))
			}
		case frameAck:
			err = s.ackedOn(l, f)
		case frameFin:
			if f.off < s.next || s.peerFin && f.off != s.peerEnd {
				err = errFrame
				break
			}
			s.peerFin, s.peerEnd = true, f.off
			l.ackDue = true
			s.cond.Broadcast()
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// came sees to the acknowledgement of a piece.
func (s *Stream) came(l *leg, n uint64) {
	l.came += n
	l.unacked += n
	switch {
	case l.unacked >= ackAt || s.peerFin:
		l.ackDue = true
		s.cond.Broadcast()
	case l.delayed == nil:
		l.delayed = time.AfterFunc(ackDelay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			l.ackDue = l.ackDue || l.unacked > 0
			s.cond.Broadcast()
		})
	case l.unacked == n: // none was due
		l.delayed.Reset(ackDelay)
	}
}

// ackSoon has some leg tell how much was read.
func (s *Stream) ackSoon() {
	for _, l := range s.legs {
		if !l.stuck {
			l.ackDue = true
		}
	}
	s.told = s.eaten
	s.cond.Broadcast()
}

// ackedOn takes the peer's acknowledgement of what it got on a leg.
func (s *Stream) ackedOn(l *leg, f frame) error {
	if f.on > l.sent || f.on < l.acked {
		return errFrame
	}
	now := time.Now()
	if f.on > l.acked || len(l.flying) == 0 {
		l.moved, l.stuck = now, false
	}
	l.acked = f.on
	n := 0
	for n < len(l.flying) && l.flying[n].until <= f.on {
		l.flying[n].done = true
		n++
	}
	if n > 0 {
		l.measure(now.Sub(l.flying[n-1].at), l.flying[n-1].data)
		l.flying = slices.Delete(l.flying, 0, n)
	}
	return s.arrived(f.next, f.eaten)
}

// measure learns how much a leg carries.
func (l *leg) measure(rtt time.Duration, data []byte) {
	if l.srtt == 0 {
		l.srtt = rtt
	}
	l.srtt += (rtt - l.srtt) / 8
	if len(data) < ackAt {
		return // its acknowledgement may have waited
	}
	if l.least == 0 || rtt < l.least {
		l.least = rtt
	}
	switch {
	case rtt < 2*l.least+slack:
		l.limit = min(l.limit+MaxPiece/2, Window)
	case rtt > 3*l.least+2*slack:
		l.limit = max(l.limit-min(l.limit, MaxPiece/2), minLimit)
	}
}

// sendOn is the writing half of a leg. It returns nil when the stream has ended
// in good order.
func (s *Stream) sendOn(l *leg) error {
	buf := make([]byte, 0, dataHead+MaxPiece+ackSize+finSize)
	for {
		s.mu.Lock()
		for !l.ended && !s.toSend(l) {
			s.cond.Wait()
		}
		buf = s.frames(l, buf[:0])
		ended := l.ended
		s.mu.Unlock()
		if len(buf) > 0 {
			if _, err := l.conn.Write(buf); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}

// toSend reports whether there is something for a leg to do.
func (s *Stream) toSend(l *leg) bool {
	return l.ackDue || s.free(l) || s.fin && len(s.queue) == 0 && !l.finSent
}

// free reports whether a leg should take the next piece.
func (s *Stream) free(l *leg) bool {
	return len(s.queue) > 0 && l.sent-l.acked < l.limit && !l.stuck && s.itsTime(l)
}

// itsTime asks the pace once for each piece. A leg that waits still acknowledges.
func (s *Stream) itsTime(l *leg) bool {
	if s.cfg.Pace == nil {
		return true
	}
	if !l.booked {
		l.booked, l.goAt = true, time.Time{}
		if wait := s.cfg.Pace(len(s.queue[0].data)); wait > 0 {
			l.goAt = time.Now().Add(wait)
			time.AfterFunc(wait, s.wake) // for nobody, if the stream has ended
		}
	}
	return l.goAt.IsZero() || !time.Now().Before(l.goAt)
}

// frames writes what a leg has to say now.
func (s *Stream) frames(l *leg, buf []byte) []byte {
	data := s.free(l) && !l.ended
	if l.ackDue || data && l.unacked > 0 {
		buf = appendAck(buf, l.came, s.next, s.eaten)
		s.told = s.eaten
		l.ackDue, l.unacked = false, 0
	}
	if data {
		p := s.queue[0]
		s.queue = s.queue[1:]
		l.booked = false
		if !p.done && p.end() > s.there {
			buf = s.send(l, p, buf)
		}
	}
	if s.fin && len(s.queue) == 0 && !l.finSent {
		buf = appendFin(buf, s.sent)
		l.finSent = true
		s.cond.Broadcast()
	}
	return buf
}

func (s *Stream) send(l *leg, p *piece, buf []byte) []byte {
	now := time.Now()
	if len(l.flying) == 0 {
		l.moved = now
	}
	p.cut = true
	l.sent += uint64(len(p.data))
	l.flying = append(l.flying, flight{p, l.sent, now})
	at, found := slices.BinarySearchFunc(s.kept, p, func(a, b *piece) int { return int(int64(a.off) - int64(b.off)) })
	if !found {
		s.kept = slices.Insert(s.kept, at, p)
	}
	if s.watch == nil {
		s.watch = time.AfterFunc(s.cfg.Patience, s.look)
	}
	return appendData(buf, p.off, p.data)
}

// look finds legs on which nothing moves.
func (s *Stream) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = nil
	if s.err != nil {
		return
	}
	flying := false
	for _, l := range s.legs {
		if len(l.flying) == 0 {
			continue
		}
		flying = true
		if patience := max(s.cfg.Patience, 4*l.srtt); !l.stuck && time.Since(l.moved) > patience {
			l.stuck = true
			s.again(l)
			s.ask()
		} else if l.stuck && time.Since(l.moved) > hopeless {
			_ = l.kill.Close() // its reader takes it out
		}
	}
	if flying {
		s.watch = time.AfterFunc(s.cfg.Patience/3, s.look)
	}
}
