package transport

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"rain/ring/host/pump"
)

// atOnce bounds what a pump reads from one socket before it looks at the others.
const atOnce = 64

// floodRest is by how much a flood may hold up the token at each hop.
const floodRest = 200 * time.Microsecond

// Sources gives the sockets and the timer to a pump. While it has the turn, the
// sink is called in its thread only. Call it after Open and run the pump only
// while Run runs.
func (t *Transport) Sources() ([]pump.Source, error) {
	var out []pump.Source
	for i, s := range t.socks {
		r, err := newReader(s.conn)
		if err != nil {
			return nil, fmt.Errorf("transport: link %q: %w", s.name, err)
		}
		r.b = make([]byte, 64<<10)
		fd := -1
		if err := r.raw.Control(func(d uintptr) { fd = int(d) }); err != nil {
			return nil, fmt.Errorf("transport: link %q: %w", s.name, err)
		}
		out = append(out, pump.Source{FD: fd, First: true, Hand: s.r.handed.Store, Ready: func(fd int) { t.pumped(i, r, fd) }})
	}
	return append(out, t.waker.Source()), nil
}

// pumped reads what a socket has, without waiting. In a flood it rests a moment
// before the next wake-up.
func (t *Transport) pumped(sock int, r *reader, fd int) {
	before, got := t.refused(), 0
	for ; got < atOnce && r.read(uintptr(fd)); got++ {
		if r.errno != 0 {
			continue // an earlier datagram found nobody: told once
		}
		from := r.source()
		t.receive(sock, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), r.b[:r.n])
	}
	if got > 0 && r.flood.note(got, int(t.refused()-before)) {
		rest := unix.NsecToTimespec(int64(floodRest))
		_ = unix.Nanosleep(&rest, nil) // a signal ends it early, and no harm is done
	}
}
