package ring

import (
	"testing"
	"time"
)

// Rules of the core that random runs do not find broken, each alone. The texts
// name the invariant that rests on the rule.

var (
	n1 = Member{ID: 1, Inc: 1}
	n2 = Member{ID: 2, Inc: 1}
	n3 = Member{ID: 3, Inc: 1}
)

// inRing is node 1 in a settled view of these members, with a token of epoch 1.1
// that it does not hold.
func inRing(t *testing.T, members ...Member) *Machine {
	t.Helper()
	timing, ok := Preset("lan")
	if !ok {
		t.Fatal("no preset lan")
	}
	m := New(Config{Me: n1, Timing: timing})
	v := View{Number: 1}
	for _, w := range members {
		v.Members = append(v.Members, ViewMember{Member: w, Since: 1})
	}
	m.state, m.now = member, Instant(time.Hour)
	m.log = opLog{base: 1}
	m.views = []IndexedView{{Index: 1, View: v}}
	m.copy = &Token{Epoch: MakeEpoch(1, 1), Seq: 5, Base: 1, Commit: 1, Stable: 1, Ring: members}
	m.copyStamp, m.promised = m.copy.Stamp(), m.copy.Epoch
	m.delivered, m.commit, m.stable = 1, 1, 1
	m.saved.from = 2
	m.eff = &Effects{}
	return m
}

// What an older incarnation acknowledged does not count for the newer one: it died
// with its memory. The same for what it has seen, on which leases rest.
func TestAcksBelongToAnIncarnation(t *testing.T) {
	young := Member{ID: n2.ID, Inc: n2.Inc + 1}
	m := inRing(t, n1, young, n3)
	m.copy.Acks = []Ack{{Member: n1, Ack: 9, Dur: 9, Seen: 5}, {Member: n2, Ack: 9, Dur: 9, Seen: 5}}
	if got := m.highest(m.copy, 1, func(a Ack) uint64 { return a.Ack }); got != 1 {
		t.Errorf("invariant 2 (one sequence) broken: op %d counts as committed by a member and the former life of another", got)
	}
	m.passed = Stamp{Epoch: m.copy.Epoch, Seq: 3}
	m.passedAt = m.now
	m.confirmLease()
	if m.lease != 0 {
		t.Error("invariant 3 (one actor) broken: a lease is confirmed by what the former life of a member has seen")
	}
}

// A grant of an older incarnation is none of the newer one.
func TestGrantsBelongToAnIncarnation(t *testing.T) {
	young := Member{ID: n2.ID, Inc: n2.Inc + 1}
	m := inRing(t, n1, young, n3)
	m.startCall(false)
	epoch := m.call.epoch
	m.onGrant(n2, Grant{Epoch: epoch})
	m.call.failed = append(m.call.failed, n3) // nobody is left to wait for
	m.tryQuorum()
	if m.call.graceAt != 0 || m.holding || m.copy.Epoch == epoch {
		t.Error("invariant 1 (one lineage) broken: a token was made with the grant of a former life")
	}
}

// Who was late itself does not count a failure against others; but not for ever.
func TestLatenessExcuses(t *testing.T) {
	m := inRing(t, n1, n2, n3)
	for i, want := range []int{0, 0, 1} {
		q := question{n2, m.lateSum}
		m.wakeAt = m.now.Add(-m.t.SendTimeout)
		m.noteLate()
		m.noteFailed(q)
		if got := m.failed[n2].n; got != want {
			t.Errorf("invariant 6 (liveness) broken: after %d failures in its own lateness a node counts %d, want %d", i+1, got, want)
		}
	}
	m.noteFailed(question{n3, m.lateSum})
	if m.failed[n3].n != 1 {
		t.Error("invariant 6 (liveness) broken: a failure of others is not counted")
	}
}

// A late node waits longer before it asks for the token.
func TestLatenessStretches(t *testing.T) {
	m := inRing(t, n1, n2, n3)
	m.starve(m.probeAfter())
	early := m.starveAt
	m.wakeAt = m.now
	m.now = early.Add(20 * time.Millisecond)
	m.noteLate()
	if m.starveAt < m.now.Add(20*time.Millisecond) {
		t.Errorf("invariant 6 (liveness) broken: 20 ms late and more, it asks after %v", m.starveAt.Sub(m.now))
	}
	m.now = m.starveAt.Add(time.Second)
	before := m.starveAt
	m.wakeAt = before
	m.noteLate()
	if m.starveAt != before {
		t.Error("invariant 6 (liveness) broken: lateness puts off the question again and again")
	}
}

// The wait that was reckoned when the epoch was made is right for those who were
// passed over ever since. Who had a token of this epoch rests the whole of it, and
// what is left of it only the maker knows: the others leave it to him for a while.
func TestWaitOfTheMaking(t *testing.T) {
	const wait, ago = 100 * time.Millisecond, 40 * time.Millisecond
	for name, c := range map[string]struct {
		suspect Suspect
		maker   bool
		gone    int
		wait    time.Duration
	}{
		"passed over since":    {Suspect{Member: n2, Sure: true, SureAt: 4}, true, 1, wait - ago},
		"visited in the epoch": {Suspect{Member: n2, Seq: 2, Sure: true, SureAt: 4}, true, 1, 112500 * time.Microsecond},
		"another's making":     {Suspect{Member: n2, Sure: true, SureAt: 4}, false, 0, 0},
		"the maker is gone":    {Suspect{Member: n2, Sure: true, SureAt: 1}, false, 1, 112500 * time.Microsecond},
		"only doubted":         {Suspect{Member: n2}, true, 0, 0},
	} {
		m := inRing(t, n1, n2, n3)
		m.copy.Seq = 8
		m.copy.Suspects = []Suspect{c.suspect}
		if c.maker {
			m.made = making{epoch: m.copy.Epoch, at: m.now.Add(-ago), wait: wait}
		}
		gone, got := m.toLeaveOut(m.newest().View)
		if len(gone) != c.gone || c.gone > 0 && got != c.wait {
			t.Errorf("invariant 3 (one actor) broken: %s: %d are left out and wait %v, want %d and %v", name, len(gone), got, c.gone, c.wait)
		}
	}
}

// A token never goes on among members that are no quorum: they would not starve,
// and so never learn how the others went on.
func TestNoTokenAmongFew(t *testing.T) {
	m := inRing(t, n1, n2, n3, Member{ID: 4, Inc: 1}, Member{ID: 5, Inc: 1})
	m.copy.Suspects = []Suspect{{Member: n3, Seq: 1, By: n2}, {Member: Member{ID: 4, Inc: 1}, Seq: 1, By: n2}, {Member: Member{ID: 5, Inc: 1}, Seq: 1, By: n2}}
	m.holding = true
	m.pass()
	for _, e := range m.eff.Send {
		if _, ok := e.Msg.(*Token); ok {
			t.Errorf("invariant 6 (liveness) broken: the token goes to %s, with three of five doubted", e.To)
		}
	}
	if !m.call.active {
		t.Error("invariant 6 (liveness) broken: nobody is asked")
	}
}
