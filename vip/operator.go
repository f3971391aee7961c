package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/vip/table"
)

// ErrUnknownAddress says that an address is in no pool.
var ErrUnknownAddress = errors.New("vip: no such virtual IP; 'rainctl status' lists them")

// ErrUnknownNode says that a node is not in the view.
var ErrUnknownNode = errors.New("vip: no such node in the cluster's view; it is down, or 'rainctl status' has its right name")

// SetPools replaces the cluster's addresses. What stays keeps its holder.
func (m *Manager) SetPools(ctx context.Context, pools []table.Pool) error {
	return m.propose(ctx, table.Op{Kind: table.SetPools, Pools: pools})
}

// Drain hands everything over to the other nodes, takes nothing any more, and
// returns when the others answer. Without another node the addresses go free:
// nobody answers then. Run must be running. The mark lasts until Undrain or this
// incarnation's end.
func (m *Manager) Drain(ctx context.Context) error {
	self := m.ring.Self()
	if err := m.propose(ctx, table.Op{Kind: table.Draining, To: self, On: true}); err != nil {
		return fmt.Errorf("vip: drain: %w", err)
	}
	mine := map[netip.Addr]bool{}
	err := m.await(ctx, func(t *table.Table) bool {
		done, others := true, len(t.Want()) > 0
		for i := range t.Entries {
			e := &t.Entries[i]
			if e.Owner == self {
				mine[e.Addr()], done = true, false
			}
			// Where nobody can take over there is nothing to wait for.
			if mine[e.Addr()] && others && !e.Served && !e.Removed {
				done = false
			}
		}
		return done
	})
	if err != nil {
		return fmt.Errorf("vip: drain: addresses are still on their way: %w", err)
	}
	return nil
}

// DrainNode marks a node as draining, or not; its own manager does the work.
func (m *Manager) DrainNode(ctx context.Context, node ring.NodeID, on bool) error {
	vm, ok := m.rider.Table().View.ByID(node)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknownNode, node)
	}
	return m.propose(ctx, table.Op{Kind: table.Draining, To: vm.Member, On: on})
}

// Undrain takes part again.
func (m *Manager) Undrain(ctx context.Context) error {
	return m.DrainNode(ctx, m.ring.Self().ID, false)
}

// Move pins an address to a node and waits until that node answers on it. Node 0
// takes the pin away and waits for nothing.
func (m *Manager) Move(ctx context.Context, addr netip.Addr, node ring.NodeID) error {
	t := m.rider.Table()
	vm, ok := t.View.ByID(node)
	switch {
	case t.Find(addr) == nil:
		return fmt.Errorf("%w: %s", ErrUnknownAddress, addr)
	case node != 0 && !ok:
		return fmt.Errorf("%w: %s", ErrUnknownNode, node)
	case node != 0 && t.IsDraining(vm.Member):
		return fmt.Errorf("vip: move %s to %s: that node is draining or holds no virtual IPs; undrain it first", addr, m.cfg.Name(node))
	}
	if err := m.propose(ctx, table.Op{Kind: table.Pin, Addr: addr, Node: node}); err != nil || node == 0 {
		return err
	}
	err := m.await(ctx, func(t *table.Table) bool {
		e := t.Find(addr)
		return e == nil || e.Owner.ID == node && e.Served
	})
	if err != nil {
		return fmt.Errorf("vip: move %s to %s: pinned, but that node does not answer yet: %w", addr, m.cfg.Name(node), err)
	}
	return nil
}

// await waits until the table is as wanted.
func (m *Manager) await(ctx context.Context, ok func(*table.Table) bool) error {
	for {
		t := m.rider.Table()
		if ok(t) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.Changed():
		}
	}
}

// Status lists the addresses, sorted.
func (m *Manager) Status() []Status {
	t := m.rider.Table()
	var out []Status
	for i := range t.Entries {
		e := &t.Entries[i]
		st := Status{
			Addr: e.Addr(), Pool: e.Pool, Moves: e.Moves, Cause: e.Cause, Pin: e.Pin,
			Gap: time.Duration(e.GapMS) * time.Millisecond, Draining: t.IsDraining(e.Owner),
		}
		if !t.Orphan(e) {
			st.Holder, st.Answering = e.Owner.ID, e.Served
		}
		if e.SinceMS > 0 {
			st.Since = time.UnixMilli(int64(e.SinceMS))
		}
		out = append(out, st)
	}
	return out
}

// Events lists the newest changes of holders, oldest first.
func (m *Manager) Events() []table.Event { return slices.Clone(m.rider.Table().Events) }
