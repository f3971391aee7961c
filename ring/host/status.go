package host

import (
	"context"
	"maps"
	"slices"
	"time"

	"rain/ring"
)

// Status is a picture of the node's ring.
type Status struct {
	ring.Inspection
	Name    string
	Primary bool
	View    ring.View // delivered
	Meter   Meter
	DiskErr string                    // why the log cannot be written; "": it can
	LeaseMS int64                     // what is left of the lease, at least 0
	Since   map[ring.NodeID]time.Time // when an id came into the view or left it, as seen here
}

// Status asks the loop. ok is false when the node is stopping or ctx ends.
func (n *Node) Status(ctx context.Context) (s Status, ok bool) {
	s = Status{Name: n.cfg.Name, View: n.View()}
	ok = n.do(ctx, func() {
		if n.m == nil {
			return
		}
		s.Inspection = n.m.Inspect()
		s.Since = maps.Clone(n.since)
		if t := s.Token; t != nil { // a copy: the loop goes on with its own
			s.Token = &ring.Token{Epoch: t.Epoch, Seq: t.Seq, Base: t.Base, Commit: t.Commit, Stable: t.Stable, Ring: slices.Clone(t.Ring)}
		}
	})
	s.Meter = n.meter.read()
	s.Primary = n.Primary()
	s.LeaseMS = max(0, n.LeaseUntil().Sub(n.Now()).Milliseconds())
	if e := n.diskErr.Load(); e != nil {
		s.DiskErr = *e
	}
	return s, ok
}

// Meter is what the node measures, without asking the loop.
func (n *Node) Meter() Meter { return n.meter.read() }
