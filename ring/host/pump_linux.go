package host

import (
	"fmt"

	"golang.org/x/sys/unix"

	"rain/ring/host/pump"
)

// Sources gives the timer and the loop's turns to a pump. The loop keeps what
// only it can do: a new life. close frees what was made, when no pump runs any more.
func (n *Node) Sources() (s []pump.Source, close func(), err error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("host: eventfd: %w; raise the limit of open files", err)
	}
	kick := func() { pump.Signal(fd) }
	hand := func(on bool) {
		if !on {
			n.mail.hand(nil)
			return
		}
		n.mail.hand(kick)
	}
	mail := pump.Source{FD: fd, Hand: hand, Ready: func(fd int) {
		pump.Drain(fd)
		if items, ok := n.mail.pump(); ok {
			n.turn(items)
			n.mail.leave(n.m == nil)
		}
	}}
	return []pump.Source{mail, n.waker.Source()}, func() { unix.Close(fd) }, nil
}
