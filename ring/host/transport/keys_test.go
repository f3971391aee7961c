package transport

import (
	"bytes"
	"testing"

	"rain/ring"
	"rain/ring/host/seal"
)

// The key is changed in the cluster's three steps while messages flow: none is
// lost, and no incarnation changes.
func TestKeyChangeUnderTraffic(t *testing.T) {
	cfg := testConfig(1)
	cfg.SendTimeout = patience
	older, newer := cfg.Key, bytes.Repeat([]byte{2}, seal.KeySize)
	a, b := pairUp(t, cfg)
	sent := 0
	pass := func(n int) {
		t.Helper()
		for range n {
			sent++
			a.Send(m2, []byte{byte(sent)}, uint64(sent))
		}
		if !a.verdict(uint64(sent)) {
			t.Fatalf("message %d failed", sent)
		}
		b.until("all messages", func() bool { return len(b.got()) == sent })
	}
	a.Send(ring.Member{ID: m2.ID}, []byte{0}, 1)
	sent = 1
	pass(5)
	for _, step := range [][][]byte{{older, newer}, {newer, older}, {newer}} {
		for _, n := range []*node{a, b} {
			if err := n.SetKeys(step[0], step[1:]...); err != nil {
				t.Fatal(err)
			}
			pass(5) // one end is a step ahead, then both are level
		}
	}
	if s := b.Stats(); s.Dropped["key"] != 0 {
		t.Errorf("datagrams that did not open: %v", s.Dropped)
	}
	if err := a.SetKeys([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}

// A node comes back at another address, which the other's config does not have.
func TestPeerMoves(t *testing.T) {
	cfg := testConfig(1)
	a, b := pairUp(t, cfg)
	a.Send(ring.Member{ID: m2.ID}, []byte("here"), 1)
	if !a.verdict(1) {
		t.Fatal("the first message failed")
	}
	b.stop()
	moved := m2
	moved.Inc++
	c := start(t, cfg, moved) // port 0: it gets another one
	c.SetPeer(m1.ID, a.Addrs())
	c.Send(ring.Member{ID: m1.ID}, []byte("I am here now"), 1)
	if !c.verdict(1) {
		t.Fatal("the node that moved is not heard")
	}
	a.Send(moved, []byte("welcome"), 2)
	if !a.verdict(2) {
		t.Error("the node that moved is not answered")
	}
	a.SetPeer(m2.ID, c.Addrs()) // as the ring tells it
	a.Send(moved, []byte("again"), 3)
	if !a.verdict(3) {
		t.Error("not reached at the address that the ring tells")
	}
}

func TestForget(t *testing.T) {
	cfg := testConfig(1)
	a, b := pairUp(t, cfg)
	a.Send(ring.Member{ID: m2.ID}, []byte("hello"), 1)
	if !a.verdict(1) {
		t.Fatal("the first message failed")
	}
	b.stop()
	a.Send(m2, []byte("on its way"), 2)
	a.Forget(m2.ID)
	if a.verdict(2) {
		t.Error("a message to a peer that was forgotten was delivered")
	}
	a.Send(m2, []byte("to nobody"), 3)
	if a.verdict(3) {
		t.Error("a message to nobody was delivered")
	}
	if s := a.Stats(); len(s.Paths) != 0 {
		t.Errorf("paths of a peer that was forgotten: %+v", s.Paths)
	}
	a.Forget(m2.ID)
}
