package vip

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"rain/ring"
	"rain/vip/table"
)

// ErrNoDriver says that this node holds no virtual IPs.
var ErrNoDriver = errors.New(`vip: driver "none": this node holds no virtual IPs; set [vip] driver in its file`)

// None is the driver of a node that holds no virtual IPs. A manager with it
// claims nothing, and counts as draining, so that the others share them all.
type None struct{}

// Acquire refuses.
func (None) Acquire(context.Context, table.Address) (net.Listener, error) { return nil, ErrNoDriver }

// Release does nothing.
func (None) Release(netip.Addr) {}

// Renew does nothing.
func (None) Renew(ring.Instant) {}
