package ring

import (
	"testing"
	"time"
)

// The freshest age among the grants shortens the wait of a view that is made with
// its epoch: a granter that was skipped for long has not seen the last rotation of
// the member that is left out.
func TestFreshestAgeCounts(t *testing.T) {
	timing, _ := Preset("lan")
	who := func(i NodeID) Member { return Member{ID: i, Inc: 1} }
	view := View{Number: 1}
	for i := NodeID(1); i <= 5; i++ {
		view.Members = append(view.Members, ViewMember{Member: who(i), Since: 1})
	}
	m := New(Config{Me: who(2), Timing: timing, Aggressive: true})
	m.eff = &Effects{}
	m.now = Instant(time.Hour)
	m.state = member
	m.log = opLog{base: 1}
	m.views = []IndexedView{{Index: 1, View: view}}
	m.delivered, m.commit, m.stable = 1, 1, 1
	m.saved.from = 2
	stamp := Stamp{Epoch: MakeEpoch(1, 1), Seq: 9}
	m.copy = &Token{Epoch: stamp.Epoch, Seq: stamp.Seq, Base: 1, Commit: 1, Stable: 1, Ring: membersOf(m.views)}
	m.copyStamp, m.promised = stamp, stamp.Epoch
	m.lastAt = m.now.Add(-40 * time.Millisecond)
	m.startCall(false)
	m.onGrant(who(3), Grant{Epoch: m.call.epoch, Age: 90 * time.Millisecond})
	m.now = m.now.Add(time.Millisecond)
	m.onGrant(who(4), Grant{Epoch: m.call.epoch, Age: 20 * time.Millisecond})
	m.now = m.now.Add(10 * time.Millisecond)
	m.make()
	e, ok := m.log.at(2)
	if !ok {
		t.Fatal("no view change was made with the epoch")
	}
	c, err := ParseViewChange(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	// Node 4 had the token 20 ms before its grant came, 10 ms ago.
	if want := timing.Wait() - 30*time.Millisecond; c.Wait != want || len(c.View.Members) != 3 {
		t.Errorf("invariant (one actor) broken: the view without 1 and 5 waits %v, want %v (%s)", c.Wait, want, c.View)
	}
}
