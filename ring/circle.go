package ring

import "slices"

// A token that is lost is missed by all, each a little after the one before it on the
// ring. If each asked all, a ring of a hundred would send twenty thousand messages;
// but all have a newer copy behind them on the ring, but for the one whose copy is the
// newest. So in a large ring a starving node first asks some that follow it. One with
// a newer copy ends the matter. If none of them has one, all are asked.
const (
	largeRing = 16
	circle    = 8
)

// probe asks whether the token is lost.
func (m *Machine) probe() { m.startCallTo(true, m.circle()) }

// circle are those to ask first; none: all at once.
func (m *Machine) circle() (out []Member) {
	r := m.copy.Ring
	at := slices.Index(r, m.me)
	if len(r) <= largeRing || at < 0 {
		return nil
	}
	for i := 1; i < len(r) && len(out) < circle; i++ {
		who := r[(at+i)%len(r)]
		if who.ID != m.me.ID && !m.suspectOnToken(who) && m.inForce(who) {
			out = append(out, who)
		}
	}
	return out
}

// tryWiden asks all when the first ones have answered, but for one: that may be the
// one that died with the token.
func (m *Machine) tryWiden() {
	c := &m.call
	missing := 0
	for _, who := range c.first {
		if !c.granted(who) && !slices.Contains(c.failed, who) {
			missing++
		}
	}
	if c.widenAt != 0 && missing <= 1 {
		m.widen()
	}
}

// widen asks those who were not asked yet.
func (m *Machine) widen() {
	c := &m.call
	first := c.first
	c.first, c.widenAt = nil, 0
	c.deadline = m.now.Add(m.t.SendTimeout + m.t.SendTimeout/4)
	m.callTo(slices.DeleteFunc(membersOf(m.force()), func(w Member) bool { return slices.Contains(first, w) }))
	m.tryQuorum()
}
