package sim

import (
	"testing"
	"time"
)

// In a large ring the token's loss is found as soon as if each asked all, by a tenth
// of the messages: the holder dies, and so does another member.
func TestLossInALargeRing(t *testing.T) {
	s, err := Measure(48, timing(t, "lan"), 100*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	for what, r := range map[string]Removal{"a member": s.Dead, "the holder": s.DeadHolder} {
		if most := 48 * 48 * 2 / 3; r.Messages > most {
			t.Errorf("sim: invariant 6 (liveness) broken: the death of %s costs %d messages, want at most %d", what, r.Messages, most)
		}
		if most := timing(t, "lan").Wait(); r.View > most { // before anybody may have what it had
			t.Errorf("sim: invariant 6 (liveness) broken: %s is left out after %v, want at most %v", what, r.View, most)
		}
	}
}

// Many die at once, also those who would be asked first: what is left is one view.
func TestManyDieInALargeRing(t *testing.T) {
	for _, dead := range [][2]int{{1, 12}, {8, 19}, {13, 24}} {
		c := New(1, Calm(24, timing(t, "lan")), nil)
		for _, n := range c.nodes {
			c.start(n)
		}
		if err := c.RunUntil(20*time.Second, c.Whole); err != nil {
			t.Fatal(err)
		}
		for i := dead[0]; i < dead[1]; i++ { // eleven of twenty-four
			c.crash(c.nodes[i-1])
		}
		from := c.now
		if err := c.RunUntil(5*time.Second, c.Whole); err != nil {
			t.Fatal(err)
		}
		if took := time.Duration(c.now - from); !c.Whole() || took > time.Second {
			t.Errorf("sim: invariant 6 (liveness) broken: nodes %d to %d died; one view of the others after %v: %v", dead[0], dead[1]-1, took, c.Whole())
		}
	}
}
