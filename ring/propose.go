package ring

import (
	"fmt"
	"slices"
	"strings"
)

// proposal is an op of this member on its way.
type proposal struct {
	n       uint64
	rider   RiderID
	data    []byte
	durable bool
	all     bool
	index   uint64 // in the log; 0: not there (yet, or any more)
	placed  bool   // was ever on a token that left
	// allFrom is the stamp of the first token of this epoch that I had with a
	// commit that covers the op; all have applied it when all have seen that.
	allFrom Stamp
}

func (m *Machine) propose(ev Propose) {
	p := &proposal{n: ev.N, rider: ev.Rider, data: ev.Data, durable: ev.Durable, all: ev.All}
	switch {
	case len(ev.Data) > MaxOp:
		m.resolve(p, 0, ErrOpTooLarge)
	case m.state != member || m.isolated || m.leaving && !m.newest().View.Has(m.me):
		m.resolve(p, 0, ErrNotPrimary)
	default:
		m.pending = append(m.pending, p)
		if m.holding {
			m.holdUntil = min(m.holdUntil, m.now.Add(m.holdTime()))
		} else if !m.hurried && m.sent.to != (Member{}) {
			m.hurried = true
			m.send(m.sent.to, Hurry{Epoch: m.copyStamp.Epoch})
		}
	}
}

// placeProposals finds each of my ops in the log again after the log changed:
// what was cut must go onto the token once more, what is there must not.
func (m *Machine) placeProposals() {
	lost := false
	for _, p := range m.pending {
		if p.index == 0 {
			continue
		}
		e, ok := m.log.at(p.index)
		if p.index > m.log.base && (!ok || e.From != m.me || e.N != p.n) {
			p.index = 0
			lost = true
		}
	}
	if !lost {
		return
	}
	byN := map[uint64]*proposal{}
	for _, p := range m.pending {
		if p.index == 0 {
			byN[p.n] = p
		}
	}
	for i, e := range m.log.ops {
		if p := byN[e.N]; p != nil && e.From == m.me && e.Rider != RiderViews {
			p.index = m.log.base + uint64(i) + 1
		}
	}
}

// settleProposals answers what can be answered.
func (m *Machine) settleProposals() {
	if len(m.pending) == 0 {
		return
	}
	m.pending = slices.DeleteFunc(m.pending, func(p *proposal) bool {
		if p.index == 0 || p.index > m.delivered || p.durable && p.index > m.stable {
			return false
		}
		if p.all && !m.allHave(p) {
			return false
		}
		m.resolve(p, p.index, nil)
		return true
	})
}

// allHave reports whether every member has accepted a token whose commit
// covers p.
func (m *Machine) allHave(p *proposal) bool {
	t := m.copy
	if p.allFrom.Epoch != t.Epoch {
		if t.Commit < p.index {
			return false
		}
		p.allFrom = t.Stamp()
		if m.arrived < p.index {
			p.allFrom.Seq++ // my own count raised it: only the token that I pass says so
		}
	}
	for _, who := range membersOf(m.force()) {
		if ackValue(t, who).Seen < p.allFrom.Seq {
			return false
		}
	}
	return true
}

// leave begins the planned end: this member proposes its own removal.
func (m *Machine) leave() {
	m.leaving = true
	if m.state != member {
		m.eff.Left = true
	}
}

func causeText(c ViewChange) string {
	ids := make([]string, len(c.Who))
	for i, w := range c.Who {
		ids[i] = w.ID.String()
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s", c.Kind, strings.Join(ids, " ")))
}
