package snow

import (
	"testing"

	"rain/snow/queue"
)

func idle(r *reporter) bool { return r.idle(newFakeQueue().Table()) }

// Nobody looks at the slots of an idle server, until a request begins.
func TestSweeperRests(t *testing.T) {
	s := newSlots(1)
	r := newReporter(s)
	roused := func() bool {
		select {
		case <-s.roused:
			return true
		default:
			return false
		}
	}
	var tr tracked
	tr.open(s, somebody)
	tr.number, tr.running = 1, true
	tr.slot.state.Store(1<<slotNumber | slotRunning)
	if idle(r) {
		t.Fatal("idle although a request runs")
	}
	s.rouse()
	if roused() {
		t.Fatal("roused while awake")
	}
	tr.end()
	if !idle(r) {
		t.Fatal("not idle after the request's end")
	}
	s.rouse()
	s.rouse()
	if !roused() || roused() {
		t.Fatal("not roused once by the first request")
	}
	r.over = []uint64{1}
	if idle(r) {
		t.Fatal("idle although an end is to be told")
	}
}

// What the token has of this node and no request stands behind is for the
// sweeper, too.
func TestSweeperRestsNotBeforeStrays(t *testing.T) {
	q := newFakeQueue()
	r := newReporter(newSlots(1))
	r.become(q.Self())
	b, err := (&queue.Op{Kind: queue.OpBatch, Begins: []queue.NewStream{{N: 7}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Propose(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if r.idle(q.Table()) {
		t.Fatal("idle beside a stray entry")
	}
}
