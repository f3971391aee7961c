package host

import (
	"sync"
	"testing"

	"rain/ring"
)

// signal reports whether the loop was told to come, and takes the signal.
func signal(b *mailbox) bool {
	select {
	case <-b.sig:
		return true
	default:
		return false
	}
}

func TestPasserByTakesTheTurn(t *testing.T) {
	b := newMailbox()
	if _, ok := b.pass(verdict{}); ok {
		t.Fatal("the turn was given before the loop gave it back")
	}
	b.leave(false)
	if !signal(b) {
		t.Error("the loop was not told of what came while it had the turn")
	}
	items, ok := b.pass(verdict{ref: 2})
	if !ok || len(items) != 2 || items[1] != (verdict{ref: 2}) {
		t.Fatalf("pass = %v, %v; want both items in order", items, ok)
	}
	if _, ok := b.take(); ok {
		t.Error("two have the turn")
	}
	b.put(ring.Leave{})
	if signal(b) {
		t.Error("the loop was told although somebody has the turn")
	}
	b.leave(false)
	if !signal(b) {
		t.Error("the loop was not told of what is left")
	}
	if items, ok = b.take(); !ok || len(items) != 1 {
		t.Errorf("take = %v, %v; want what was left", items, ok)
	}
	b.leave(false)
	if signal(b) {
		t.Error("the loop was told of nothing")
	}
	if items, ok = b.pass(nil); !ok || len(items) != 0 {
		t.Errorf("an alarm's pass = %v, %v; want an empty turn", items, ok)
	}
}

// TestPasserByLeavesSlowWork: the socket must not wait for a disk.
func TestPasserByLeavesSlowWork(t *testing.T) {
	b := newMailbox()
	b.leave(false)
	b.put(func() {})
	if !signal(b) {
		t.Error("the loop was not told of slow work")
	}
	if _, ok := b.pass(verdict{}); ok {
		t.Error("a passer-by got slow work")
	}
	if items, ok := b.take(); !ok || len(items) != 2 {
		t.Errorf("take = %v, %v; want both", items, ok)
	}
	b.leave(true)
	if !signal(b) {
		t.Error("the loop was not told that it must mend")
	}
	if _, ok := b.pass(verdict{}); ok {
		t.Error("a passer-by got a turn without a machine")
	}
	if _, ok := b.take(); !ok {
		t.Error("the loop got no turn to mend")
	}
	b.leave(false)
	if _, ok := b.pass(nil); !ok {
		t.Error("all is well again, and a passer-by got no turn")
	}
}

// TestNothingIsLost has many bring items while a loop runs: each is handled
// once, by one at a time, and nobody gets a turn after close.
func TestNothingIsLost(t *testing.T) {
	const writers, each = 8, 2000
	b := newMailbox()
	b.leave(false)
	handled := 0 // the race detector watches it: only the turn guards it
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-b.sig:
			case <-stop:
				return
			}
			if items, ok := b.take(); ok {
				handled += len(items)
				b.leave(false)
			}
		}
	}()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				switch {
				case w == 0 && i%16 == 0:
					b.put(func() {})
				case w%2 == 0:
					b.put(verdict{})
				default:
					if items, ok := b.pass(verdict{}); ok {
						handled += len(items)
						b.leave(false)
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	<-stopped
	if items, ok := b.take(); ok { // what was signalled after the loop's last look
		handled += len(items)
		b.leave(false)
	}
	b.close()
	if handled != writers*each {
		t.Errorf("%d items handled of %d", handled, writers*each)
	}
	if _, ok := b.pass(verdict{}); ok {
		t.Error("a turn after close")
	}
}

// While a pump has the loop's part, the loop is woken only to mend.
func TestPumpHasTheLoopsPart(t *testing.T) {
	b := newMailbox()
	b.leave(false)
	kicks := 0
	b.hand(func() { kicks++ })
	b.put(func() {})
	if kicks != 1 || signal(b) {
		t.Errorf("%d kicks; want one, and no signal for the loop", kicks)
	}
	if _, ok := b.take(); ok {
		t.Error("the loop got the pump's turn")
	}
	if items, ok := b.pump(); !ok || len(items) != 1 {
		t.Errorf("pump = %v, %v; want the slow work", items, ok)
	}
	b.put(verdict{})
	b.leave(false)
	if kicks != 2 {
		t.Errorf("%d kicks; the pump was not told of what is left", kicks)
	}
	if items, ok := b.pass(nil); !ok || len(items) != 1 {
		t.Errorf("pass in the pump's thread = %v, %v; want the turn", items, ok)
	}
	b.leave(true)
	if !signal(b) {
		t.Error("the loop was not told to mend")
	}
	if _, ok := b.pump(); ok {
		t.Error("the pump got a turn without a machine")
	}
	if _, ok := b.take(); !ok {
		t.Error("the loop got no turn to mend")
	}
	b.put(verdict{})
	b.leave(false)
	if kicks != 3 {
		t.Errorf("%d kicks; the pump was not told of what came while the loop mended", kicks)
	}
	b.hand(nil)
	if !signal(b) {
		t.Error("the loop was not told of what the pump left")
	}
	if items, ok := b.take(); !ok || len(items) != 1 {
		t.Errorf("take = %v, %v; want what the pump left", items, ok)
	}
}
