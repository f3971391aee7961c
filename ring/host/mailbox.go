package host

import "sync"

// mailbox is an unbounded queue, and the turn to handle what is in it: whoever
// has the turn may touch the machine and the riders. Its writers are bounded by
// themselves: the transport by its windows, proposers by a semaphore.
//
// The loop's own goroutine takes any turn. A passer-by, the goroutine that
// brought a message or an alarm, may take one too, for one batch: on an idle
// node waking another goroutine costs more than the step itself. What may be
// slow is left to the loop, because the passer-by's next datagram waits for it.
type mailbox struct {
	mu     sync.Mutex
	items  []any // ring.Event and others that Node.handle knows
	spare  []any
	slow   int  // how many of items are func()
	due    bool // the alarm went off
	busy   bool // somebody has the turn
	mend   bool // only the loop can go on: it must make a new machine
	closed bool
	kick   func() // not nil: a pump has the loop's part but mend; come and look
	freed  *sync.Cond
	sig    chan struct{} // for the loop: come and look
}

// newMailbox returns one whose turn is the caller's.
func newMailbox() *mailbox {
	b := &mailbox{sig: make(chan struct{}, 1), busy: true}
	b.freed = sync.NewCond(&b.mu)
	return b
}

// put adds an item for the loop, or for whoever has the turn.
func (b *mailbox) put(item any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(item)
	if !b.busy {
		b.wake()
	}
}

// pass adds an item that a passer-by brought; nil: an alarm. With ok he has the
// turn and these items.
func (b *mailbox) pass(item any) (items []any, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(item)
	if b.mend || b.slow > 0 && b.kick == nil { // the loop knows: put or leave has woken it
		return nil, false
	}
	return b.enter()
}

// take gives the loop the turn, if there is something to do and nobody else has
// it; who has it wakes the loop.
func (b *mailbox) take() (items []any, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kick != nil && !b.mend {
		return nil, false
	}
	return b.enter()
}

// pump gives a pump the turn, as take does the loop.
func (b *mailbox) pump() (items []any, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mend {
		return nil, false
	}
	return b.enter()
}

// hand gives the loop's part to a pump that kick wakes, or, with nil, back.
func (b *mailbox) hand(kick func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kick = kick
	if !b.busy && b.waiting() {
		b.wake()
	}
}

// leave gives the turn back, with mend to the loop only. The loop is woken for
// what has come since; for the loop itself that is harmless.
func (b *mailbox) leave(mend bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy, b.mend = false, mend
	if b.waiting() {
		b.wake()
	}
	b.freed.Broadcast()
}

// close waits until nobody has the turn; then nobody gets it.
func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for b.busy {
		b.freed.Wait()
	}
}

func (b *mailbox) add(item any) {
	switch item.(type) {
	case nil:
		b.due = true
		return
	case func():
		b.slow++
	}
	b.items = append(b.items, item)
}

func (b *mailbox) waiting() bool { return b.due || b.mend || len(b.items) > 0 }

// enter gives the turn; the items are valid until it is given again.
func (b *mailbox) enter() ([]any, bool) {
	if b.busy || b.closed || !b.waiting() {
		return nil, false
	}
	out := b.items
	clear(b.spare)
	b.items, b.spare = b.spare[:0], out
	b.busy, b.due, b.slow = true, false, 0
	return out, true
}

func (b *mailbox) wake() {
	if b.kick != nil && !b.mend {
		b.kick()
		return
	}
	select {
	case b.sig <- struct{}{}:
	default:
	}
}
