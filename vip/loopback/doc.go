// Package loopback makes virtual IPs out of 127.0.0.0/8: no root, no network
// interface, all nodes on one Linux machine. It is the demo's driver.
//
// Holding an address means listening on it; a guard process (package guard)
// shuts the socket when the lease ends, whatever has become of the node.
//
// A planned hand-over refuses no connection: the sockets of the old and the new
// holder are for a few milliseconds in one SO_REUSEPORT group. A holder's group
// has a classic BPF program that gives every connection to socket 0, its own.
// Prepare adds the successor's socket as number 1: it gets nothing. Steer swaps
// the program for one that says 1, then waits until the handshakes of before have
// ended and the old socket's queue is empty. From Steer to the successor's first Accept new connections wait in the
// successor's kernel queue: there they are accepted by nobody, and not refused.
//
// All nodes must run as one user: the kernel lets nobody else into a group.
//
// Only Linux. Elsewhere New says ErrUnsupported.
package loopback

import (
	"errors"
	"fmt"
)

// ErrUnsupported says that this system cannot do it.
var ErrUnsupported = errors.New(`vip loopback: this driver needs Linux (a guard must be able to shut a frozen node's sockets); set [vip] driver = "none" and use the nodes' own addresses`)

// ErrClosed says that the driver was closed.
var ErrClosed = errors.New("vip loopback: the driver is closed")

// Config is what the driver is told at its start.
type Config struct {
	// Port on which every virtual IP listens.
	Port uint16
	// Exe and Args run a program that calls guard.Main. Empty: this program with
	// guard.Argument.
	Exe  string
	Args []string
}

// Validate finds all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.Port == 0 {
		errs = append(errs, errors.New("vip loopback: port is 0: every node must listen on the same one; set [web] vip_port"))
	}
	if c.Exe == "" && len(c.Args) > 0 {
		errs = append(errs, fmt.Errorf("vip loopback: arguments %v without a program", c.Args))
	}
	return errors.Join(errs...)
}
