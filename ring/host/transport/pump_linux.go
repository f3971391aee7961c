package transport

import (
	"fmt"
	"net/netip"

	"rain/ring/host/pump"
)

// atOnce bounds what a pump reads from one socket before it looks at the others.
const atOnce = 64

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
		fd := -1
		if err := r.raw.Control(func(d uintptr) { fd = int(d) }); err != nil {
			return nil, fmt.Errorf("transport: link %q: %w", s.name, err)
		}
		r.b = make([]byte, 64<<10)
		out = append(out, pump.Source{FD: fd, First: true, Hand: s.r.handed.Store, Ready: func(fd int) { t.pumped(i, r, fd) }})
	}
	return append(out, t.waker.Source()), nil
}

// pumped reads what a socket has, without waiting.
func (t *Transport) pumped(sock int, r *reader, fd int) {
	for range atOnce {
		if !r.read(uintptr(fd)) {
			return
		}
		if r.errno != 0 {
			continue // an earlier datagram found nobody: told once
		}
		from := r.source()
		t.receive(sock, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), r.b[:r.n])
	}
}
