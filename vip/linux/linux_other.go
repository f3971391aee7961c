//go:build !linux

package linux

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"rain/ring"
	"rain/vip/table"
)

// Driver cannot exist here: New refuses.
type Driver struct{}

// New refuses: see ErrUnsupported.
func New(context.Context, Config, *slog.Logger) (*Driver, error) { return nil, ErrUnsupported }

// Check refuses: see ErrUnsupported.
func Check(Config) (warnings []string, err error) { return nil, ErrUnsupported }

// Acquire refuses.
func (*Driver) Acquire(context.Context, table.Address) (net.Listener, error) {
	return nil, ErrUnsupported
}

// Release does nothing.
func (*Driver) Release(netip.Addr) {}

// Renew does nothing.
func (*Driver) Renew(ring.Instant) {}

// GuardPid is 0: there is none.
func (*Driver) GuardPid() int { return 0 }

// Close does nothing.
func (*Driver) Close() {}
