package vip

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"rain/ring"
	"rain/vip/guard"
	"rain/vip/table"
)

// moment is what one step goes by.
type moment struct {
	t     *table.Table
	self  ring.Member
	now   ring.Instant
	lease ring.Instant
	wake  ring.Instant // of the next step
}

func (at *moment) wakeAt(i ring.Instant) {
	if i > at.now {
		at.wake = min(at.wake, i)
	}
}

// step does what can be done now and says how long to wait.
func (m *Manager) step(ctx context.Context, t *table.Table) time.Duration {
	m.results()
	m.out.Store(true) // before the lease is read: a Renew after that must wake us
	at := &moment{t: t, self: m.ring.Self(), now: m.ring.Now(), lease: m.ring.LeaseUntil()}
	m.out.Store(at.lease <= at.now)
	at.wake = at.now.Add(m.cfg.Tick)
	at.wakeAt(m.noOps)
	if !m.cfg.EndTold {
		at.wakeAt(at.lease)
	}
	changed := m.fitness()
	if m.seen != t || changed {
		if m.seen == nil || m.seen.View.Number != t.View.Number {
			m.calm = at.now
		}
		m.seen, m.want = t, m.wanted(t, at.self)
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		s := m.slots[e.Addr()]
		if s == nil {
			s = &slot{}
			m.slots[e.Addr()] = s
		}
		s.addr = e.Address
		m.stepEntry(ctx, at, e, s)
	}
	for addr, s := range m.slots {
		if t.Find(addr) == nil && !s.busy {
			m.release(s)
			delete(m.slots, addr)
		}
	}
	m.excuse(ctx, at)
	return at.wake.Sub(at.now)
}

// acting is the acting rule.
func acting(at *moment, e *table.Entry, s *slot) bool {
	return e.Owner == at.self && e.OwnIndex != s.ceded && at.now < at.lease && at.now >= e.FreeAt
}

func (m *Manager) stepEntry(ctx context.Context, at *moment, e *table.Entry, s *slot) {
	mine := e.Owner == at.self && e.OwnIndex != s.ceded
	act := acting(at, e, s)
	next := e.Next == at.self && at.now < at.lease
	if mine {
		at.wakeAt(e.FreeAt)
	}
	if act || next {
		at.wakeAt(s.retry)
	}
	if s.busy {
		// What a worker does is right only as long as this node may act, or queue.
		unfit := !act || s.ln == nil && m.mustGo(at, e)
		if s.forNext {
			unfit = !next
		}
		if s.stop != nil && unfit {
			s.stop()
		}
		return
	}
	// A prepared listener waits for its freeAt too.
	keep := act || next || mine && s.queues && at.now < at.lease
	if s.ln != nil && !keep {
		m.release(s)
	}
	switch {
	case act && s.ln == nil && m.unfit == nil && !m.mustGo(at, e):
		if at.now < s.retry {
			return
		}
		m.acquire(ctx, s)
	case act && s.queues:
		s.queues = false
		if m.prep != nil {
			m.prep.Promote(e.Addr())
		}
		m.start(ctx, s, e)
		m.tell(ctx, at, e, s)
	case next && s.ln == nil && !e.Ready && m.prep != nil && at.now >= s.retry:
		m.prepare(ctx, s, e)
	case at.now < m.noOps: // looks again then
	case mine:
		if act {
			m.tell(ctx, at, e, s)
		}
		m.letGo(ctx, at, e, s, act)
	case at.t.Orphan(e) && m.want[e.Addr()] == at.self && m.canHold():
		m.claim(ctx, e, s)
	}
}

// claim proposes to own an orphan.
func (m *Manager) claim(ctx context.Context, e *table.Entry, s *slot) {
	op := table.Op{Kind: table.Own, Addr: e.Addr(), AtMS: m.nowMS(), Cause: "free"}
	_, back := m.seen.View.ByID(e.Owner.ID)
	switch {
	case e.Last == 0:
		op.Cause = "start"
	case e.Owner.IsZero():
	case back: // its owner lives on under a new incarnation
		op.Cause = "restart " + m.cfg.Name(e.Owner.ID)
	default:
		op.Cause = crash + m.cfg.Name(e.Owner.ID)
	}
	m.work(ctx, s, func(ctx context.Context) func() {
		err := m.propose(ctx, op)
		return func() { m.failed("own", op.Addr, err) }
	})
	s.stop = nil // an op on its way cannot be called back: let it end
}

// acquire begins to hold an address; the step after it serves.
func (m *Manager) acquire(ctx context.Context, s *slot) {
	addr := s.addr
	m.work(ctx, s, func(ctx context.Context) func() {
		ln, err := m.driver.Acquire(ctx, addr)
		return m.acquired(ctx, s, ln, err)
	})
}

// acquired takes over what the driver answered. Whether the listener may still
// be used the next step decides.
func (m *Manager) acquired(ctx context.Context, s *slot, ln net.Listener, err error) func() {
	stopped := ctx.Err() != nil
	return func() {
		if err == nil {
			s.ln, s.queues, s.fails = ln, true, 0
			return
		}
		s.retry = m.ring.Now().Add(time.Millisecond)
		if !stopped && !errors.Is(err, guard.ErrLeaseOver) {
			s.retry = m.ring.Now().Add(quiet << min(s.fails, 6))
			s.fails++
			m.log.LogAttrs(context.Background(), slog.LevelWarn, "cannot hold the address",
				slog.String("vip", s.addr.Addr().String()), slog.Any("err", err))
		}
	}
}

// prepare begins to listen as the successor and says so.
func (m *Manager) prepare(ctx context.Context, s *slot, e *table.Entry) {
	addr := s.addr
	op := table.Op{Kind: table.Ready, Addr: e.Addr(), Ref: e.NextIndex}
	m.work(ctx, s, func(ctx context.Context) func() {
		ln, err := m.prep.Prepare(ctx, addr)
		if err != nil {
			return m.acquired(ctx, s, nil, err)
		}
		m.after(m.acquired(ctx, s, ln, nil))
		err = m.propose(ctx, op)
		return func() { m.failed("ready", op.Addr, err) }
	})
	s.forNext = true
}

// start serves on the slot's listener.
func (m *Manager) start(ctx context.Context, s *slot, e *table.Entry) {
	ln, addr := s.ln, e.Addr()
	s.gap = m.gap(e)
	m.log.LogAttrs(ctx, slog.LevelInfo, "serving address", slog.String("vip", addr.String()),
		slog.String("cause", e.Cause), slog.Duration("gap", s.gap))
	served := make(chan struct{})
	s.served = served
	m.wg.Go(func() {
		err := m.serve(ctx, ln, addr)
		close(served)
		m.after(func() {
			if s.ln != ln {
				return // released on purpose
			}
			// The guard or a fault ended it. If the address is still ours, the next step binds anew.
			m.release(s)
			s.retry = m.ring.Now().Add(time.Millisecond)
			if err != nil && !errors.Is(err, net.ErrClosed) {
				s.retry = m.ring.Now().Add(quiet)
			}
			m.log.LogAttrs(ctx, slog.LevelInfo, "address's listener ended", slog.String("vip", addr.String()), slog.Any("err", err))
		})
	})
}

// tell lets the cluster know that this node answers, until it is in the table.
func (m *Manager) tell(ctx context.Context, at *moment, e *table.Entry, s *slot) {
	if e.Served || s.telling || s.ln == nil || s.queues || at.now < m.noOps {
		return
	}
	s.telling = true
	ms := uint32(min(s.gap, time.Hour).Milliseconds())
	op := table.Op{Kind: table.Served, Addr: e.Addr(), Ref: e.OwnIndex, GapMS: ms}
	m.wg.Go(func() {
		err := m.propose(ctx, op)
		m.after(func() {
			s.telling = false
			m.failed("served", op.Addr, err)
		})
	})
}

// gap estimates for how long nobody answered: see the package's limits.
func (m *Manager) gap(e *table.Entry) time.Duration {
	var d time.Duration
	switch {
	case e.Cause == "start":
		return 0
	case e.FreeAt > 0 && strings.HasPrefix(e.Cause, crash):
		d = m.ring.Now().Sub(e.FreeAt) + m.cfg.Lease + m.cfg.Lease/8
	default:
		d = time.Since(time.UnixMilli(int64(e.SinceMS)))
	}
	return max(d, 0)
}

// crash begins the cause of a take-over from a member that the ring lost.
const crash = "crash "
