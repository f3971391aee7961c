package host

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"time"

	"rain/ring"
	"rain/ring/host/clock"
)

// apply does what a step says, in the order that ring.Effects asks for.
func (n *Node) apply(now ring.Instant, e ring.Effects) {
	if e.Adopt {
		if err := n.restoreFetched(); err != nil {
			// The snapshot was whole when it came; only the disk can have
			// failed. A new life fetches it again.
			n.log.Error("a fetched snapshot cannot be restored", slog.Any("err", err))
			n.m = nil
			n.setLease(0)
			return
		}
	}
	for i := range e.Deliver {
		n.deliver(&e.Deliver[i])
	}
	if e.Save != nil {
		n.writer.put(*e.Save)
	}
	n.sendAll(e.Send)
	for _, r := range e.Resolved {
		n.resolve(r)
	}
	if e.Fetch != nil {
		n.fetch(*e.Fetch)
	}
	if e.Ask != nil {
		n.askWitness(*e.Ask)
	}
	n.setLease(e.Lease)
	n.trace(e.Trace)
	switch {
	case e.Left:
		n.m, n.gone = nil, true
		n.life.Add(1)
		n.setLease(0)
		n.member.Store(false)
		close(n.left)
	case e.Restart:
		n.rejoin, n.tries = max(n.rejoin, e.AboveInc), e.Tries
		n.m = nil
		n.setLease(0)
		n.member.Store(false)
	default:
		n.waker.Set(n.alarmAt(now, e))
	}
}

// alarmAt is when the machine wants to be called, or the lease ends: whoever goes
// by it needs no timer of his own, which would go off for each old end.
func (n *Node) alarmAt(now ring.Instant, e ring.Effects) ring.Instant {
	switch {
	case e.Lease == 0:
	case now < e.Lease:
		if e.Wake == 0 || e.Lease < e.Wake {
			return e.Lease
		}
	case n.ended != e.Lease:
		n.ended = e.Lease
		n.onLease(e.Lease)
	}
	return e.Wake
}

func (n *Node) sendAll(list []ring.Envelope) {
	for i := range list {
		e := &list[i]
		var ref uint64
		if e.Ref != 0 {
			ref = n.life.Load()<<lifeShift | e.Ref
		}
		buf := ring.AppendMessageAs(make([]byte, 0, 512), e.Msg, n.versionOf(e.To))
		if t, ok := e.Msg.(*ring.Token); ok {
			if took := n.meter.passed(ref, t, len(buf)); took > 0 && n.cfg.OnRotation != nil {
				n.cfg.OnRotation(took)
			}
			n.keepRows(t)
		}
		n.tr.Send(e.To, buf, ref)
	}
}

func (n *Node) keepRows(t *ring.Token) {
	old := n.rows.Load()
	if slices.EqualFunc(old.rows, t.Rows, sameRow) {
		return
	}
	n.rows.Store(newRowSet(t.Rows))
	close(old.changed)
}

func sameRow(a, b ring.Row) bool { return a.Member == b.Member && bytes.Equal(a.Data, b.Data) }

func (n *Node) deliver(d *ring.Delivery) {
	if d.Rider == ring.RiderViews {
		v := d.View
		n.noteSince(n.View(), v)
		n.view.Store(&v)
		n.events.viewChanged(d)
		for _, r := range n.riders {
			r.Rider.View(d.Index, d.View, d.FreeAt)
		}
		return
	}
	for _, r := range n.riders {
		if r.ID != d.Rider {
			continue
		}
		result := r.Rider.Apply(d.Index, d.From, d.Data)
		if d.From == n.Self() {
			n.mu.Lock()
			if w := n.waiting[d.N]; w != nil {
				w.result, w.index = result, d.Index
			}
			n.mu.Unlock()
		}
		return
	}
	n.log.Warn("an op for a rider that this program does not have; it is newer than this node", slog.Int("rider", int(d.Rider)))
}

func (n *Node) resolve(r ring.Resolution) {
	n.mu.Lock()
	w := n.waiting[r.N]
	delete(n.waiting, r.N)
	n.mu.Unlock()
	if w != nil {
		w.done <- r.Err
	}
}

func (n *Node) setLease(until ring.Instant) {
	if old := n.lease.Swap(int64(until)); old != int64(until) {
		if old != 0 && until != 0 && clock.Now() > ring.Instant(old) {
			n.meter.leaseLapsed.Add(1)
		}
		n.onLease(until)
	}
}

func (n *Node) trace(list []ring.Trace) {
	for _, t := range list {
		if t.Kind == ring.TraceMember {
			n.force = false // it is done, or not needed
			n.member.Store(true)
		}
		n.meter.count(t)
		n.events.trace(t)
		level := slog.LevelInfo
		switch t.Kind {
		case ring.TraceStarve, ring.TraceGrant, ring.TraceDeny, ring.TraceDenied, ring.TraceRefuse, ring.TraceRefused, ring.TraceSeek, ring.TraceCall:
			level = slog.LevelDebug
		case ring.TraceIsolated, ring.TraceOut, ring.TraceCheckFailed, ring.TraceOtherLease, ring.TraceWitness:
			level = slog.LevelWarn
		}
		if n.log.Enabled(context.Background(), level) {
			n.log.LogAttrs(context.Background(), level, string(t.Kind), slog.String("what", t.String()))
		}
	}
}

// noteSince remembers when nodes came and went, as seen here.
func (n *Node) noteSince(old, now ring.View) {
	at := time.Now().UTC()
	for _, m := range now.Members {
		if !old.Has(m.Member) {
			n.since[m.ID] = at
		}
	}
	for _, m := range old.Members {
		if _, still := now.ByID(m.ID); !still {
			n.since[m.ID] = at
		}
	}
}
