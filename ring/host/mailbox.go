package host

import "sync"

// mailbox is an unbounded queue with one reader. Its writers are bounded by
// themselves: the transport by its windows, proposers by a semaphore.
type mailbox struct {
	mu    sync.Mutex
	items []any // ring.Event, or func() to run in the loop
	spare []any
	sig   chan struct{}
}

func newMailbox() *mailbox { return &mailbox{sig: make(chan struct{}, 1)} }

func (b *mailbox) put(item any) {
	b.mu.Lock()
	b.items = append(b.items, item)
	b.mu.Unlock()
	select {
	case b.sig <- struct{}{}:
	default:
	}
}

// take returns all items; they are valid until the next take.
func (b *mailbox) take() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.items
	clear(b.spare)
	b.items, b.spare = b.spare[:0], out
	return out
}
