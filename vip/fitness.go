package vip

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"

	"rain/ring"
	"rain/vip/table"
)

// unfit begins the cause of a move from a node that lost its network.
const unfit = "interface down "

// fitness asks the driver whether this node can hold addresses at all, and
// reports whether that has changed.
func (m *Manager) fitness() (changed bool) {
	before := m.unfit
	switch _, none := m.driver.(None); {
	case none:
		m.unfit = ErrNoDriver
		return false
	case m.watch == nil:
		return false
	}
	m.unfit = m.watch.Unfit()
	changed = (before == nil) != (m.unfit == nil)
	switch {
	case changed && m.unfit != nil:
		m.log.LogAttrs(context.Background(), slog.LevelWarn, "this node can hold no address; the others take them", slog.Any("err", m.unfit))
	case changed:
		m.log.LogAttrs(context.Background(), slog.LevelInfo, "this node can hold addresses again")
	}
	return changed
}

func (m *Manager) canHold() bool { return m.unfit == nil }

// wanted is Want; an unfit node does not wait for the cluster to know it.
func (m *Manager) wanted(t *table.Table, self ring.Member) map[netip.Addr]ring.Member {
	if m.unfit != nil && !t.IsDraining(self) {
		without := *t
		without.Draining = append(slices.Clone(t.Draining), self)
		t = &without
	}
	return t.Want()
}

// excuse tells the cluster that a node that can hold no address takes no part,
// and takes the mark away when it can again. An operator's own mark stays, if it
// was there first.
func (m *Manager) excuse(ctx context.Context, at *moment) {
	if m.telling || !at.t.View.Has(at.self) || at.now < m.noOps {
		return
	}
	marked := at.t.IsDraining(at.self)
	if !marked {
		m.excused = false
	}
	on := m.unfit != nil
	switch {
	case on && !marked:
		m.excused = true
	case !on && m.excused:
		m.excused = false
	default:
		return
	}
	m.telling = true
	op := table.Op{Kind: table.Draining, To: at.self, On: on}
	m.wg.Go(func() {
		err := m.propose(ctx, op)
		m.after(func() {
			m.telling = false
			if err != nil && !on {
				m.excused = true // try again
			}
			m.failed("draining", op.Addr, err)
		})
	})
}
