package node

import (
	"context"
	"fmt"
	"net/netip"

	"rain/snow/admin"
)

// clusterActions are what operators do with nodes and addresses.
type clusterActions struct{ n *node }

func (c clusterActions) Drain(ctx context.Context, name string) error {
	return c.mark(ctx, name, true)
}

func (c clusterActions) Undrain(ctx context.Context, name string) error {
	return c.mark(ctx, name, false)
}

func (c clusterActions) mark(ctx context.Context, name string, on bool) error {
	id, ok := c.n.known.id(name)
	if !ok {
		return fmt.Errorf("node %s: %w", name, admin.ErrNotFound)
	}
	if on && id == c.n.file.Node.ID {
		return c.n.manager.Drain(ctx)
	}
	return c.n.manager.DrainNode(ctx, id, on)
}

func (c clusterActions) MoveVIP(ctx context.Context, addr, name string) error {
	a, err := netip.ParseAddr(addr)
	if ap, errPort := netip.ParseAddrPort(addr); err != nil && errPort == nil {
		a, err = ap.Addr(), nil // as the status shows it
	}
	if err != nil {
		return fmt.Errorf("%w: address %q: %w", admin.ErrBadInput, addr, err)
	}
	id, ok := c.n.known.id(name)
	if !ok {
		return fmt.Errorf("node %s: %w", name, admin.ErrNotFound)
	}
	return c.n.manager.Move(ctx, a, id)
}
