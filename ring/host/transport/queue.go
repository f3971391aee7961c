package transport

import (
	"context"
	"log/slog"
	"slices"

	"rain/ring"
)

// event is something for the sink, or for the log.
type event struct {
	isMsg bool // from and msg; else:
	from  ring.Member
	msg   []byte
	news  func() // call it, if not nil; else it is a verdict
	ref   uint64
	ok    bool
}

// queue keeps events in order while one goroutine delivers them without the lock.
type queue struct {
	events []event
	busy   bool
}

// drain delivers a queue. The lock is held at both ends, not between.
func (t *Transport) drain(q *queue) {
	if q.busy {
		return // that goroutine goes on with what is new
	}
	q.busy = true
	for len(q.events) > 0 {
		batch := q.events
		q.events = nil
		t.unlock()
		for _, e := range batch {
			switch {
			case e.isMsg:
				t.sink.Message(e.from, e.msg)
			case e.news != nil:
				e.news()
			default:
				t.sink.Verdict(e.ref, e.ok)
			}
		}
		t.mu.Lock()
		if q.events == nil {
			clear(batch)
			q.events = batch[:0]
		}
	}
	q.busy = false
}

// forgetMessages drops what was for an incarnation that is no more.
func (q *queue) forgetMessages() {
	q.events = slices.DeleteFunc(q.events, func(e event) bool { return e.isMsg })
}

// report has the waker's goroutine write to the log: a slow disk must not hold
// the lock, nor a datagram.
func (t *Transport) report(level slog.Level, what string, attrs ...slog.Attr) {
	t.misc.events = append(t.misc.events, event{news: func() {
		t.log.LogAttrs(context.Background(), level, what, attrs...)
	}})
	t.urgent = true
}
