package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"rain/ring"
	"rain/ring/host/transport"
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

// faults make this node's links fail on purpose, and the node itself.
type faults struct{ n *node }

func (f faults) peer(name string) (ring.NodeID, error) {
	id, ok := f.n.known.id(name)
	if !ok {
		return 0, fmt.Errorf("node %s: %w", name, admin.ErrNotFound)
	}
	return id, nil
}

// change edits the fault of a peer's paths over one link, or all.
func (f faults) change(peer, link string, edit func(*transport.Fault)) error {
	id, err := f.peer(peer)
	if err != nil {
		return err
	}
	names := []string{link}
	if link == "" {
		names = nil
		for _, l := range f.n.file.Links {
			names = append(names, l.Name)
		}
	}
	for _, name := range names {
		now := f.n.tr.Fault(id, name)
		edit(&now)
		f.n.tr.SetFault(id, name, now)
	}
	return nil
}

func (f faults) Cut(peer, link string, oneWay bool) error {
	return f.change(peer, link, func(x *transport.Fault) { x.CutOut, x.CutIn = true, x.CutIn || !oneWay })
}

func (f faults) Heal(peer, link string, oneWay bool) error {
	return f.change(peer, link, func(x *transport.Fault) { x.CutOut, x.CutIn = false, x.CutIn && oneWay })
}

func (f faults) Drop(peer string, percent float64) error {
	return f.change(peer, "", func(x *transport.Fault) { x.Drop = percent })
}

func (f faults) Delay(peer string, d time.Duration) error {
	return f.change(peer, "", func(x *transport.Fault) { x.Delay = d })
}

func (f faults) Clear() error {
	f.n.tr.ClearFaults()
	return nil
}

func (f faults) Crash() error {
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		return fmt.Errorf("node: crash: %w", err)
	}
	return p.Kill()
}

func (f faults) Freeze() error { return stopProcess() }
