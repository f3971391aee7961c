package linux

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"rain/vip"
	"rain/vip/sockdiag"
)

const (
	quietStep = 2 * time.Millisecond
	// For how long connections may wait for one more request before the server
	// closes them. New ones are taken meanwhile, so it costs nobody anything.
	leaveTime = 100 * time.Millisecond
	// What a server needs beyond that to close one.
	closeTime = 20 * time.Millisecond
	// Nothing said for this long, and nothing on its way: the connection idles
	// between two requests.
	idleAfter = 50 * time.Millisecond
)

// Leave has the server bring its connections to their end. A request that runs
// from its beginning to its end will run on: vip.ErrBusy.
func (d *Driver) Leave(ctx context.Context, addr netip.Addr) error {
	if d.cfg.Leave == nil {
		return nil
	}
	d.cfg.Leave(addr, leaveTime)
	to := netip.AddrPortFrom(addr, d.cfg.Port)
	before, err := connections(to)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("vip linux: hand %s over: %w", addr, ctx.Err())
	case <-time.After(leaveTime + quietStep):
	}
	after, err := connections(to)
	if err != nil {
		return err
	}
	long := 0
	for peer, state := range after {
		if state == busy && before[peer] == busy {
			long++
		}
	}
	if long > 0 {
		return fmt.Errorf("vip linux: hand %s over: %d requests run for longer than %s: %w", addr, long, leaveTime, vip.ErrBusy)
	}
	return nil
}

// quiet waits until no connection to the address has anything on its way.
func (d *Driver) quiet(ctx context.Context, l *listener, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Quiet)
	defer cancel()
	began := time.Now()
	for step, empty := quietStep, 0; ; step = min(2*step, 16*quietStep) {
		left, err := d.running(to, time.Since(began))
		switch {
		case err != nil:
			return err
		case left == 0:
			empty++
		default:
			empty = 0
		}
		if empty >= 2 { // a handshake that passed the filter in time has ended by the second look
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("vip linux: hand %s over: %d of them: %w", l.addr, left, vip.ErrBusy)
		case <-time.After(step):
		}
	}
}

// running counts the connections to an address that are not at their end, so long
// after it stopped taking new ones.
func (d *Driver) running(to netip.AddrPort, since time.Duration) (n int, err error) {
	all, err := connections(to)
	if err != nil {
		return 0, err
	}
	for _, state := range all {
		switch {
		case state == busy,
			state == idle && d.cfg.Leave != nil && since < leaveTime+closeTime, // it is being closed
			state == ended && since < idleAfter:
			n++
		}
	}
	return n, nil
}

// activity is what a connection is at.
type activity int

const (
	none  activity = iota
	ended          // nothing is missing but the acknowledgement of our FIN, and a client that is gone does not send it
	idle           // between two requests, or before the first
	busy
)

// connections are those to an address, by their peers.
func connections(to netip.AddrPort) (map[netip.AddrPort]activity, error) {
	socks, err := sockdiag.Connections(to, sockdiag.SynRecv, sockdiag.Established, sockdiag.CloseWait,
		sockdiag.FinWait1, sockdiag.Closing, sockdiag.LastAck)
	if err != nil {
		return nil, err
	}
	out := make(map[netip.AddrPort]activity, len(socks))
	for _, s := range socks {
		out[s.Peer] = activityOf(s)
	}
	return out, nil
}

func activityOf(s sockdiag.Socket) activity {
	after := uint32(idleAfter.Milliseconds())
	switch s.State {
	case sockdiag.FinWait1, sockdiag.Closing, sockdiag.LastAck:
		if s.WQueue <= 1 { // the FIN
			return ended
		}
	case sockdiag.Established, sockdiag.CloseWait:
		// Else its request is being answered: the last word was the server's, a while ago.
		if s.RQueue == 0 && s.WQueue == 0 && s.Unacked == 0 && s.SinceSent >= after && s.SinceRecv >= s.SinceSent {
			return idle
		}
	}
	return busy
}

var _ vip.Leaver = (*Driver)(nil)
