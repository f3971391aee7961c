package ring

import "time"

// Policy says whose half of a view is a quorum, where exactly half is left.
type Policy uint8

const (
	// PolicyDynamic: the half with the member that is longest in the view.
	PolicyDynamic Policy = 0
	// PolicyWitness: the half with the member that the witness named for this view:
	// the first of it that asked. Until it has named one, no half is a quorum, so
	// any member of a pair may die, but none while the witness is away.
	//
	// The witness names one member a view, for ever; so two halves that count share
	// that member, as two majorities share one. It holds nothing else, takes no part
	// in commits, and is asked only when exactly half of a view is in reach.
	PolicyWitness Policy = 1
)

// WitnessAsk asks the witness whom it named for a view; if nobody yet, it names
// this node. The generation is part of the view's name: after a cold start by
// other disks there may be another view of that number.
type WitnessAsk struct {
	Generation uint32
	View       uint64
}

// WitnessSaid is the answer to Effects.Ask; without one nothing happens.
type WitnessSaid struct {
	WitnessAsk
	Named NodeID
}

func (WitnessSaid) event() {}

// witnessState is what this machine knows of the witness.
type witnessState struct {
	named map[WitnessAsk]NodeID
	asked Instant // last time
}

// askEvery bounds how often the witness is asked, and how long a call waits for
// its answer.
func (m *Machine) askEvery() time.Duration { return 2 * m.t.SendTimeout }

// terms are what all members must agree on, else two of them could both be right:
// the lease, and in its last nanoseconds the policy. They travel where the lease
// alone once did.
func (m *Machine) terms() time.Duration { return m.t.Lease + time.Duration(m.cfg.Policy) }

// tie is the member of a view whose half counts; zero: none does yet.
func (m *Machine) tie(v View) Member {
	if m.cfg.Policy == PolicyDynamic {
		return v.Distinguished()
	}
	vm, _ := v.ByID(m.witness.named[m.viewName(v)])
	return vm.Member
}

// viewName is a view's name at the witness. A view in force is of the generation
// of my copy, or, before I have one, of my disk.
func (m *Machine) viewName(v View) WitnessAsk {
	e := m.copyStamp.Epoch
	if e == 0 {
		e = m.cfg.Disk.Stamp.Epoch
	}
	return WitnessAsk{Generation: e.Generation(), View: v.Number}
}

// askWitness asks it if its word would make in a quorum, and reports whether an
// answer may be on its way.
func (m *Machine) askWitness(force []IndexedView, in func(Member) bool) bool {
	if m.cfg.Policy != PolicyWitness {
		return false
	}
	var ask *WitnessAsk
	for _, v := range force {
		if v.View.QuorumWith(in, m.tie(v.View)) {
			continue
		}
		name := m.viewName(v.View)
		if _, known := m.witness.named[name]; known || !v.View.half(in) {
			return false
		}
		if ask == nil {
			ask = &name
		}
	}
	if ask == nil {
		return false
	}
	if m.witness.asked == 0 || m.now.Sub(m.witness.asked) >= m.askEvery() {
		m.witness.asked = m.now
		m.eff.Ask = ask
		m.trace(Trace{Kind: TraceAskWitness, View: ask.View})
	}
	return true
}

// witnessSaid goes on with what waited for it.
func (m *Machine) witnessSaid(ev WitnessSaid) {
	if ev.Named == 0 {
		return
	}
	if m.witness.named == nil {
		m.witness.named = map[WitnessAsk]NodeID{}
	}
	for old := range m.witness.named { // views far behind are history
		if old.Generation < ev.Generation || old.View+8 < ev.View {
			delete(m.witness.named, old)
		}
	}
	m.witness.named[ev.WitnessAsk] = ev.Named
	m.trace(Trace{Kind: TraceWitness, View: ev.View, Peer: Member{ID: ev.Named}})
	if m.state == member && m.call.active {
		m.tryQuorum()
	}
}
