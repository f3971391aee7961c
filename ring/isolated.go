package ring

import "slices"

// onOut: the ring has gone on without this incarnation. It did so with my own settled
// view if I am not in that, and the change that let me in is gone.
func (m *Machine) onOut(from Member, o Out) {
	settled := m.settled().View
	if m.state != member || o.View.Has(m.me) || o.View.Number < settled.Number || o.View.Number == settled.Number && settled.Has(m.me) {
		return
	}
	m.trace(Trace{Kind: TraceOut, Peer: from, View: o.View.Number})
	m.goneBy(Stamp{})
}

// goneBy ends this life, of which no settled view is any more: by my wish, or because
// I was taken for dead. Who was heard from before the change was settled may settle
// it itself; nobody tells it then, and it passes its last token on.
func (m *Machine) goneBy(last Stamp) {
	if m.leaving {
		m.eff.Left = true
		m.trace(Trace{Kind: TraceLeft, Stamp: last})
		return
	}
	m.restart("left out of the view")
}

// A member is isolated when no lease has been confirmed for a while.
func (m *Machine) isolatedAt() Instant {
	return m.lastLease.Add(2*m.t.Lease + m.t.StarveTimeout + m.t.SendTimeout)
}

// restartAt is when an isolated member gives up this life so that disks may
// vote.
func (m *Machine) restartAt() Instant { return m.lastLease.Add(m.t.ColdAfter) }

func (m *Machine) isolationTimer() {
	if m.over() {
		return
	}
	if !m.isolated && m.now >= m.isolatedAt() {
		m.isolated = true
		m.trace(Trace{Kind: TraceIsolated, Stamp: m.copyStamp})
		m.pending = slices.DeleteFunc(m.pending, func(p *proposal) bool {
			if !p.placed {
				m.resolve(p, 0, ErrNotPrimary)
			}
			return !p.placed
		})
	}
	if m.now >= m.restartAt() {
		m.restart("isolated for long: disks may have to vote")
	}
}

// deniedInVain goes on with a call though one has a newer copy. Whose copy is newer
// is the one to call, but not if the nodes it reaches are no quorum: then all would
// wait for it for ever. Who has had no lease for so long, and finds a quorum without
// a newer copy, knows that no token has been round a quorum since. The copy that is
// passed over holds nothing committed: that would be with one of the quorum.
func (m *Machine) deniedInVain(from Member) {
	if !slices.Contains(m.call.denied, from) {
		m.call.denied = append(m.call.denied, from)
	}
	m.tryQuorum()
}

// passedBy reports whether a caller that knows of the same settled view as I is in
// no view in force, by a copy that is not older than its own: it was let in by a view
// change that a later epoch does not have, or has settled the view without it itself.
func (m *Machine) passedBy(from Member, c Call) bool {
	return !m.copyStamp.Less(c.Copy) && c.Copy.Epoch.Generation() == m.copyStamp.Epoch.Generation() &&
		c.Settled == m.settled().View.Number && !m.inForce(from)
}
