package snow

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// When an address or the node goes, its connections end in an orderly way: each
// answer says Connection: close, and where no request begins in time the
// connection is closed, after a last look at what has come meanwhile. So nobody
// loses a request that it had sent before it saw the end.

// lastLook is how long that look takes: what is in the kernel's buffer needs no
// time, what is on its way a moment.
const lastLook = 5 * time.Millisecond

// Leave tells that a VIP is about to go elsewhere. Connections to it end: see
// above; those on which no request begins are closed after within, new ones that
// long after they were accepted. The listener stays open.
func (s *Server) Leave(vip netip.Addr, within time.Duration) {
	s.conns.leave(vip.Unmap(), within)
}

// Stay undoes Leave for what is still open.
func (s *Server) Stay(vip netip.Addr) { s.conns.stay(vip.Unmap()) }

// all stands for every address, in connSet.leaving.
var all netip.Addr

func (s *connSet) leave(vip netip.Addr, within time.Duration) {
	at := time.Now().Add(within)
	for _, c := range s.begin(vip, &within) {
		c.leave(&at)
	}
}

func (s *connSet) stay(vip netip.Addr) {
	for _, c := range s.begin(vip, nil) {
		c.leave(nil)
	}
}

// begin notes how long connections of vip may wait for a request, nil: as long as
// they like, and returns those that there are.
func (s *connSet) begin(vip netip.Addr, within *time.Duration) (out []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving[all] != nil { // the node goes: it stays so
		return nil
	}
	if within == nil {
		if s.leaving[vip] == nil {
			return nil
		}
		delete(s.leaving, vip)
	} else {
		s.leaving[vip] = within
	}
	for c := range s.all {
		if vip == all || c.vip == vip {
			out = append(out, c)
		}
	}
	return out
}

// ends is when a new connection to vip ends if nothing comes; nil: not yet.
func (s *connSet) ends(vip netip.Addr) *time.Time {
	within := s.leaving[all]
	if within == nil {
		within = s.leaving[vip]
	}
	if within == nil {
		return nil
	}
	at := time.Now().Add(*within)
	return &at
}

// emptied is closed when no connection is open. Nobody may be adding any more.
func (s *connSet) emptied() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.none == nil {
		s.none = make(chan struct{})
		if len(s.all) == 0 {
			close(s.none)
		}
	}
	return s.none
}

// leave may come from any goroutine. A deadline that the serving one sets at the
// same time looks at leaveAt behind it: whoever is later sets ours.
func (c *conn) leave(at *time.Time) {
	c.leaveAt.Store(at)
	if at != nil {
		_ = c.Conn.SetReadDeadline(*at) // fails only if it is closed already
	}
}

// SetReadDeadline is fasthttp's. Between two requests ours is the earlier one.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.deadline = t
	for {
		at, d := c.leaveAt.Load(), t
		if at != nil && !c.begun && (t.IsZero() || at.Before(t)) {
			d = *at
		}
		if err := c.Conn.SetReadDeadline(d); err != nil || c.leaveAt.Load() == at {
			return err
		}
	}
}

// Read ends with io.EOF when the connection shall end and no request begins.
func (c *conn) Read(p []byte) (int, error) {
	c.tracked.reads()
	for looked := false; ; {
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.came(p[:n])
			return n, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		// A read that begins after its deadline does not look at what is there.
		now := time.Now()
		next := c.deadline
		switch at := c.leaveAt.Load(); {
		case at != nil && !c.begun && !now.Before(*at):
			if looked {
				return 0, io.EOF
			}
			looked, next = true, now.Add(lastLook)
		case !next.IsZero() && !now.Before(next):
			return n, err // fasthttp's own
		}
		if err := c.Conn.SetReadDeadline(next); err != nil {
			return 0, err
		}
	}
}

var _ net.Conn = (*conn)(nil)
