package transport

import (
	"testing"
	"time"
)

// Drop and Delay work on what comes as on what is sent: a node alone can make
// its paths bad both ways.
func TestFaultsWorkBothWays(t *testing.T) {
	a, b := pairUp(t, testConfig(1))
	a.Send(m2, []byte("1"), 1)
	if !a.verdict(1) {
		t.Fatal("first send failed")
	}
	// b's messages must cross a's delay, and be there nevertheless.
	a.SetFault(m2.ID, "", Fault{Delay: 3 * time.Millisecond})
	b.Send(m1, []byte("late"), 2)
	if !b.verdict(2) {
		t.Error("a delayed message failed")
	}
	a.until("the delayed message", func() bool { g := a.got(); return len(g) > 0 && g[len(g)-1].body == "late" })
	a.until("a round trip with both delays", func() bool { return a.Stats().Paths[0].RTT >= 6*time.Millisecond })
	a.SetFault(m2.ID, "", Fault{Drop: 100})
	before := a.Stats().Dropped["fault"]
	b.Send(m1, []byte("lost"), 3)
	if b.verdict(3) {
		t.Error("everything is lost, and the verdict is OK")
	}
	if a.Stats().Dropped["fault"] == before {
		t.Error("nothing was counted as dropped")
	}
	if g := a.got(); len(g) > 0 && g[len(g)-1].body == "lost" {
		t.Error("what is lost was delivered")
	}
}

// A connection needs both ways of a link.
func TestCutForConnections(t *testing.T) {
	a := start(t, testConfig(2), m1)
	b := start(t, testConfig(2), m2)
	a.SetPeer(m2.ID, b.Addrs())
	far, near := b.Addrs(), a.cfg.Links
	is := func(what string, end int, want bool) {
		t.Helper()
		cut, changed := a.Cut(m2.ID, far[end])
		if cut != want || cut != (changed != nil) {
			t.Errorf("%s: link %d cut is %v, want %v", what, end, cut, want)
		}
	}
	is("at rest", 0, false)
	a.SetFault(m2.ID, near[0].Name, Fault{CutOut: true})
	is("one link cut one way", 0, true)
	is("one link cut one way", 1, false)
	_, changed := a.Cut(m2.ID, far[0])
	a.SetFault(m2.ID, "", Fault{CutIn: true})
	select {
	case <-changed:
	default:
		t.Error("nobody is told of a change")
	}
	is("all links cut", 1, true)
	if cut, _ := a.Cut(m2.ID, a.Addrs()[0]); !cut {
		t.Error("all links cut, and the listener takes connections")
	}
	if cut, _ := a.Cut(m2.ID+1, far[0]); cut {
		t.Error("another peer is cut off")
	}
	a.ClearFaults()
	is("healed", 0, false)
}

func TestFaultsAreTold(t *testing.T) {
	a := start(t, testConfig(2), m1)
	a.SetFault(m2.ID, "b", Fault{Drop: 5})
	a.SetFault(m2.ID, "a", Fault{CutIn: true})
	a.SetFault(m2.ID-1, "", Fault{CutOut: true})
	if got := a.Faults(); len(got) != 3 || got[0].Peer != m2.ID-1 || got[1].Link != "a" || !got[1].CutIn || got[2].Drop != 5 {
		t.Errorf("%+v", got)
	}
	a.ClearFaults()
	if got := a.Faults(); len(got) != 0 {
		t.Errorf("after clear: %+v", got)
	}
}
