package transport

import (
	"slices"
	"testing"
	"time"

	"rain/ring"
	"rain/ring/link"
)

var m3 = ring.Member{ID: 0x00010003, Inc: 300}

// three starts three nodes that know each other and waits until all see all.
func three(t *testing.T, cfg Config) (n [3]*node) {
	t.Helper()
	who := [3]ring.Member{m1, m2, m3}
	for i := range n {
		n[i] = start(t, cfg, who[i])
	}
	for i := range n {
		for j := range n {
			if i != j {
				n[i].SetPeer(who[j].ID, n[j].Addrs())
			}
		}
	}
	for _, x := range n {
		x.until("all paths up", func() bool { return up(x, 0) == 2*len(cfg.Links)*len(cfg.Links) })
	}
	return n
}

// up is how many paths to a peer are up; 0: to all.
func up(n *node, to ring.NodeID) (count int) {
	for _, p := range n.Stats().Paths {
		if p.Up && (to == 0 || p.Peer.ID == to) {
			count++
		}
	}
	return count
}

func relayed3(n *node, to ring.NodeID) bool {
	for _, r := range n.Stats().Relays {
		if r.Peer == to && len(r.Via) == 1 && r.Via[0] == m3.ID {
			return true
		}
	}
	return false
}

// What goes by a neighbour arrives, whether the direct path is dead both ways or
// one way, before its monitor knows and after.
func TestRelay(t *testing.T) {
	for name, cut := range map[string]Fault{"both ways": {CutIn: true, CutOut: true}, "there": {CutOut: true}, "back": {CutIn: true}} {
		t.Run(name, func(t *testing.T) {
			n := three(t, testConfig(1))
			n[0].until("a relay", func() bool { return relayed3(n[0], m2.ID) && relayed3(n[1], m1.ID) })
			n[0].SetFault(m2.ID, "", cut)
			ref := uint64(0)
			talk := func() {
				t.Helper()
				for range 5 {
					ref++
					n[0].Send(m2, make([]byte, 5000), ref)
					n[1].Send(m1, make([]byte, 5000), ref)
					if a, b := n[0].verdict(ref), n[1].verdict(ref); !a || !b {
						for _, x := range n {
							dump(t, x)
						}
						t.Fatalf("message %d failed (there %v, back %v), and a neighbour reaches both", ref, !a, !b)
					}
				}
			}
			talk()
			n[0].until("path down", func() bool { return up(n[0], m2.ID) == 0 })
			n[1].until("path down", func() bool { return up(n[1], m1.ID) == 0 })
			talk()
			if n[2].Stats().Carried == 0 {
				t.Error("the neighbour carried nothing")
			}
			n[0].ClearFaults()
			n[0].until("path up again", func() bool { return up(n[0], m2.ID) == 1 && up(n[1], m1.ID) == 1 })
			carried := n[2].Stats().Carried
			n[0].until("quiet relay", func() bool { // what was on its way may still pass
				was := carried
				carried = n[2].Stats().Carried
				talk()
				return was == carried
			})
		})
	}
}

// via are the neighbours that stand by for a peer.
func via(n *node, to ring.NodeID) []ring.NodeID {
	for _, r := range n.Stats().Relays {
		if r.Peer == to {
			return r.Via
		}
	}
	return nil
}

// A switch dies: of five neighbours that all still claim to reach a node, only one
// does, and only that one is reached by the node. Whoever has a message for the
// other tries one neighbour after the other, and stays with the one that can.
func TestRelayAfterRelay(t *testing.T) {
	cfg := testConfig(1)
	cfg.Link.DownAfter, cfg.Link.Calm = time.Minute, time.Minute // no monitor finds out
	var n []*node
	for i := range 7 {
		n = append(n, start(t, cfg, ring.Member{ID: ring.NodeID(0x00010001 + i), Inc: 100}))
	}
	for _, a := range n {
		for _, b := range n {
			if a != b {
				a.SetPeer(b.me.ID, b.Addrs())
			}
		}
	}
	a, b := n[0], n[1]
	for _, x := range n {
		x.until("all paths up", func() bool { return up(x, 0) == len(n)-1 })
		x.until("relays for all", func() bool { return len(x.Stats().Relays) == len(n)-1 })
	}
	standby := append(via(a, b.me.ID), via(b, a.me.ID)...)
	good := n[2+slices.IndexFunc(n[2:], func(x *node) bool { return !slices.Contains(standby, x.me.ID) })]
	for _, x := range n {
		if x != b && x != good {
			x.SetFault(b.me.ID, "", Fault{CutIn: true, CutOut: true})
		}
	}
	ref := uint64(0)
	say := func() bool {
		ref++
		a.Send(b.me, make([]byte, 2000), ref)
		b.Send(a.me, make([]byte, 2000), ref)
		there, back := a.verdict(ref), b.verdict(ref)
		return there && back
	}
	for tries := 1; !say(); tries++ {
		if tries == 8 {
			dump(t, a)
			dump(t, b)
			t.Fatal("no message arrives, and a neighbour reaches both")
		}
	}
	for i := range 10 {
		if !say() {
			t.Errorf("message %d failed after one had arrived", i+1)
		}
	}
}

// A node that comes back while a neighbour is its only way is found.
func TestRelayedHello(t *testing.T) {
	n := three(t, testConfig(1))
	n[0].SetFault(m2.ID, "", Fault{CutIn: true, CutOut: true})
	next := m2
	next.Inc++
	n[1].SetMe(next)
	n[0].until("the new incarnation", func() bool { return n[0].Known(m2.ID) == next.Inc })
	n[0].Send(next, []byte("hello"), 1)
	if !n[0].verdict(1) {
		t.Error("a message to it failed")
	}
}

func TestNoRelayWithoutAsking(t *testing.T) {
	cfg := testConfig(1)
	cfg.Relays = 0
	n := three(t, cfg)
	n[0].SetFault(m2.ID, "", Fault{CutOut: true})
	n[0].Send(m2, []byte("x"), 1)
	if n[0].verdict(1) {
		t.Error("delivered over a path that is cut, with relays off")
	}
	if n[2].Stats().Carried != 0 {
		t.Error("the neighbour carried something")
	}
}

// When all paths are known to be dead, nobody waits for the send timeout.
func TestDeadAtOnce(t *testing.T) {
	cfg := testConfig(2)
	cfg.SendTimeout = 5 * time.Minute
	a, b := pairUp(t, cfg)
	a.until("paths up", func() bool { return up(a, m2.ID) == 4 })
	a.Send(m2, []byte("under way"), 1)
	if !a.verdict(1) {
		t.Fatal("a message over healthy links failed")
	}
	b.stop()
	a.Send(m2, []byte("to nobody"), 2)
	if a.verdict(2) { // given up when the last path goes down
		t.Error("delivered to a node that was stopped")
	}
	a.Send(m2, []byte("to nobody"), 3)
	if a.verdict(3) {
		t.Error("delivered to a node that was stopped")
	}
}

// Both ends of each path tell the same story.
func TestOneHistory(t *testing.T) {
	n := three(t, testConfig(2))
	n[0].SetFault(m2.ID, "a", Fault{CutOut: true})
	n[0].until("two of four down", func() bool { return up(n[0], m2.ID) == 2 && up(n[1], m1.ID) == 2 })
	n[0].ClearFaults()
	n[0].until("all up", func() bool { return up(n[0], m2.ID) == 4 && up(n[1], m1.ID) == 4 })
	match := func() bool {
		mine, theirs := n[0].History(), n[1].History()
		pairs := 0
		for _, x := range mine {
			for _, y := range theirs {
				if x.Peer != m2.ID || y.Peer != m1.ID || addrOf(n[0], x.Link) != y.Remote || addrOf(n[1], y.Link) != x.Remote {
					continue
				}
				pairs++
				if len(x.Past) != len(y.Past) {
					return false
				}
				for i := range x.Past {
					if x.Past[i].Up != y.Past[i].Up || x.Past[i].Count != y.Past[i].Count {
						t.Fatalf("one end says %+v, the other %+v", x.Past, y.Past)
					}
				}
			}
		}
		return pairs == 4
	}
	n[0].until("equal histories", match)
}

func addrOf(n *node, name string) (a any) {
	for i, l := range n.cfg.Links {
		if l.Name == name {
			return n.Addrs()[i]
		}
	}
	return nil
}

func TestPairs(t *testing.T) {
	for _, c := range []struct{ mine, theirs, want int }{{1, 1, 1}, {2, 2, 4}, {1, 3, 3}, {3, 3, 7}, {4, 4, 8}, {8, 8, 8}} {
		a := start(t, testConfig(c.mine), m1)
		b := start(t, testConfig(c.theirs), m2)
		a.SetPeer(m2.ID, b.Addrs())
		b.SetPeer(m1.ID, a.Addrs())
		a.until("every path up", func() bool {
			return len(a.Stats().Paths) == c.want && up(a, m2.ID) == c.want && up(b, m1.ID) == c.want
		})
		a.stop()
		b.stop()
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(appendPing(nil, time.Second, link.Ping{Inc: 1, No: 1}))
	f.Add(appendTable(nil, 7, []row{{1, 2, 3}}))
	longest := appendTable(nil, 7, slices.Repeat([]row{{1, 2, 3}}, sendTable))
	f.Add(append(longest, longest[tableHead:][:(maxTable-sendTable)*tableRow]...))
	f.Add([]byte{kindRelay, 0, 0, 0, 1, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		if every, p, err := parsePing(b); err == nil {
			if e2, p2, err := parsePing(appendPing(nil, every, p)); err != nil || e2 != every || p2 != p {
				t.Fatalf("%v %+v came back as %v %+v, %v", every, p, e2, p2, err)
			}
		}
		if no, rows, err := parseTable(b); err == nil {
			// More rows are understood than are sent.
			sent := tableHead + min(len(rows), sendTable)*tableRow
			if string(appendTable(nil, no, rows)) != string(b[:sent]) {
				t.Fatalf("table %x came back otherwise", b)
			}
		}
		if _, inner, err := parseRelay(b); err == nil && len(inner) == 0 {
			t.Fatal("a relay of nothing")
		}
	})
}

// dump tells what a node knows, for a test that has failed.
func dump(t *testing.T, n *node) {
	t.Helper()
	t.Logf("%v: %+v", n.me, n.Stats())
	n.Transport.mu.Lock()
	defer n.Transport.mu.Unlock()
	for _, p := range n.order {
		for i, a := range p.paths {
			via := ring.NodeID(0)
			if a.via != nil {
				via = a.via.id
			}
			t.Logf("  %v path %d by %v: told %d, rudp %+v", p.id, i, via, a.told, p.conn.Link(i))
		}
		t.Logf("  table %+v", p.table)
	}
}
