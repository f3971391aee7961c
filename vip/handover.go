package vip

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"rain/ring"
	"rain/vip/table"
)

const (
	// gentle is how long a move that only levels the load may keep new
	// connections waiting for running ones.
	gentle = 150 * time.Millisecond
	// busyPause is how long such a move is put off when they still ran.
	busyPause = 30 * time.Second
)

// letGo gives what this node owns to whom the table wants it to have, as gently
// as the reason allows.
func (m *Manager) letGo(ctx context.Context, at *moment, e *table.Entry, s *slot, act bool) {
	if e.Removed {
		m.cede(ctx, s, table.Op{Kind: table.Free, Addr: e.Addr(), Ref: e.OwnIndex, AtMS: m.nowMS(), Cause: "removed"})
		return
	}
	if !e.Next.IsZero() {
		m.handOver(ctx, at, e, s, act)
		return
	}
	to := m.want[e.Addr()]
	if to == at.self {
		return
	}
	cause, urgent := m.reason(at, e, to)
	switch {
	case to.IsZero():
		// Nobody is left to take it. Freed, it answers again as soon as somebody can.
		m.cede(ctx, s, table.Op{Kind: table.Free, Addr: e.Addr(), Ref: e.OwnIndex, AtMS: m.nowMS(), Cause: cause})
	case !urgent && !m.myTurn(at, e):
	case m.prep == nil || !act || s.ln == nil || m.unfit != nil:
		m.give(ctx, e, s, to, cause)
	default:
		op := table.Op{Kind: table.Prepare, Addr: e.Addr(), Ref: e.OwnIndex, To: to}
		m.work(ctx, s, func(ctx context.Context) func() {
			err := m.propose(ctx, op)
			return func() { m.failed("prepare", op.Addr, err) }
		})
		s.stop = nil
	}
}

// mustGo reports whether this node is not to begin to hold what it owns.
func (m *Manager) mustGo(at *moment, e *table.Entry) bool {
	to := m.want[e.Addr()]
	if to == at.self || e.Owner != at.self {
		return false
	}
	_, urgent := m.reason(at, e, to)
	return e.Removed || urgent
}

// reason says why e shall go to another, and whether at once.
func (m *Manager) reason(at *moment, e *table.Entry, to ring.Member) (cause string, urgent bool) {
	switch {
	case m.unfit != nil:
		return unfit + m.cfg.Name(at.self.ID), true
	case at.t.IsDraining(at.self):
		return "drain " + m.cfg.Name(at.self.ID), true
	case e.Pin != 0 && e.Pin == to.ID:
		return "moved to " + m.cfg.Name(to.ID), true
	}
	return "balance", false
}

// myTurn reports whether e may be moved for balance: the view is settled, no
// other move is under way, and e is the first in the table that would move.
func (m *Manager) myTurn(at *moment, e *table.Entry) bool {
	settled := m.calm.Add(m.cfg.Settle)
	if at.now < settled {
		at.wakeAt(settled)
		return false
	}
	for i := range at.t.Entries {
		o := &at.t.Entries[i]
		if !o.Next.IsZero() || at.t.Orphan(o) || !o.Served {
			return false
		}
	}
	for i := range at.t.Entries {
		o := &at.t.Entries[i]
		if to, ok := m.want[o.Addr()]; ok && to != o.Owner {
			return o.Addr() == e.Addr()
		}
	}
	return false
}

// handOver goes on with a hand-over whose Prepare is in the table.
func (m *Manager) handOver(ctx context.Context, at *moment, e *table.Entry, s *slot, act bool) {
	if s.prepared != e.NextIndex {
		s.prepared, s.notReady = e.NextIndex, at.now.Add(m.cfg.PrepareTimeout)
	}
	cause, urgent := m.reason(at, e, e.Next)
	switch {
	case m.unfit != nil: // nobody reaches this node: nothing to be gentle about
		m.give(ctx, e, s, e.Next, cause)
	case e.Ready && act && s.ln != nil:
		m.steer(ctx, e, s, cause, urgent)
	case at.now < s.notReady:
		at.wakeAt(s.notReady)
	case urgent:
		m.give(ctx, e, s, e.Next, cause)
	default:
		m.calm = at.now // not again at once
		m.cancel(ctx, e, s)
	}
}

// steer empties the own queue while new connections go to the successor's, then
// gives the address. What is not urgent breaks nothing: it gives up soon.
func (m *Manager) steer(ctx context.Context, e *table.Entry, s *slot, cause string, urgent bool) {
	entry := *e
	m.work(ctx, s, func(wctx context.Context) func() {
		err := m.empty(wctx, entry.Addr(), urgent)
		return func() {
			now := m.rider.Table().Find(entry.Addr())
			if now == nil || now.OwnIndex != entry.OwnIndex || now.NextIndex != entry.NextIndex {
				m.prep.Promote(entry.Addr()) // the successor is gone: all comes here again
				return
			}
			if errors.Is(err, ErrBusy) && !urgent {
				m.prep.Promote(entry.Addr())
				m.calm = m.ring.Now().Add(busyPause)
				m.cancel(ctx, &entry, s)
				return
			}
			if err != nil {
				// What still runs will be reset; the address must go on all the same.
				m.log.LogAttrs(ctx, slog.LevelWarn, "hand-over may break connections",
					slog.String("vip", entry.Addr().String()), slog.Any("err", err))
			}
			m.give(ctx, &entry, s, entry.Next, cause)
		}
	})
}

// empty has what the own machine has accepted come to its end, as far as the
// driver must. A driver that breaks nothing is given its time: what waits at the
// successor would be broken by giving up.
func (m *Manager) empty(ctx context.Context, addr netip.Addr, urgent bool) error {
	if m.leave == nil {
		return m.prep.Steer(ctx, addr)
	}
	if err := m.leave.Leave(ctx, addr); err != nil && !(errors.Is(err, ErrBusy) && urgent) {
		return err
	}
	if !urgent {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, gentle)
		defer cancel()
	}
	return m.prep.Steer(ctx, addr)
}

// cancel ends a hand-over that came to nothing.
func (m *Manager) cancel(ctx context.Context, e *table.Entry, s *slot) {
	op := table.Op{Kind: table.Cancel, Addr: e.Addr(), Ref: e.OwnIndex}
	m.work(ctx, s, func(ctx context.Context) func() {
		err := m.propose(ctx, op)
		return func() { m.failed("cancel", op.Addr, err) }
	})
	s.stop = nil
}

func (m *Manager) give(ctx context.Context, e *table.Entry, s *slot, to ring.Member, cause string) {
	m.cede(ctx, s, table.Op{Kind: table.Give, Addr: e.Addr(), Ref: e.OwnIndex, To: to, AtMS: m.nowMS(), Cause: cause})
}

// cede stops acting, then proposes the op that says so. Until the ring says
// that the op did not happen, this ownership is not acted on again: the op may
// be committed at others long before its result is known here.
//
// The server has all that it accepted before another may hold the address: a
// connection on its way from Accept to it would not count as accepted in time.
func (m *Manager) cede(ctx context.Context, s *slot, op table.Op) {
	served := s.served
	m.release(s)
	s.ceded = op.Ref
	m.work(ctx, s, func(ctx context.Context) func() {
		if served != nil {
			select {
			case <-served:
			case <-ctx.Done():
			}
		}
		err := m.propose(ctx, op)
		return func() {
			if err != nil && surelyNot(err) {
				s.ceded = 0
			}
			m.failed("cede", op.Addr, err)
		}
	})
	s.stop = nil
}
