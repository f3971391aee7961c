package host

import (
	"fmt"
	"sync"
	"time"

	"rain/ring"
)

// Event is something that happened to the ring, for people.
type Event struct {
	ID   uint64
	Time time.Time
	Node string // whose log it is from
	Kind string
	Text string
	Why  string
	Gap  time.Duration // how long exclusive work rested because of it; 0: unknown or none
}

// eventLog keeps the last events.
type eventLog struct {
	node string
	mu   sync.Mutex
	next uint64
	ring []Event
}

const keepEvents = 1000

func newEventLog(node string) *eventLog { return &eventLog{node: node, next: 1} }

func (l *eventLog) add(kind, text, why string, gap time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring = append(l.ring, Event{ID: l.next, Time: time.Now().UTC(), Node: l.node, Kind: kind, Text: text, Why: why, Gap: gap})
	l.next++
	if len(l.ring) > 2*keepEvents {
		l.ring = append([]Event(nil), l.ring[len(l.ring)-keepEvents:]...)
	}
}

func (l *eventLog) after(id uint64) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.ring {
		if e.ID > id {
			return append([]Event(nil), l.ring[i:]...)
		}
	}
	return nil
}

func (l *eventLog) viewChanged(d *ring.Delivery) {
	l.add("view", d.View.String(), d.Cause, 0)
}

// trace keeps what an operator may want to know; hops and answers it leaves out.
func (l *eventLog) trace(t ring.Trace) {
	switch t.Kind {
	case ring.TraceMake:
		l.add("token", fmt.Sprintf("made token %s", t.Stamp), fmt.Sprintf("%d granted", t.Num), 0)
	case ring.TraceDoubt:
		l.add("suspect", "doubted "+t.Peer.String(), "no answer to one", 0)
	case ring.TraceSuspect:
		l.add("suspect", t.Peer.String(), "no answer", 0)
	case ring.TraceClear:
		l.add("suspect", "cleared "+t.Peer.String(), "heard from again", 0)
	case ring.TraceStarve:
		l.add("starve", "no token", fmt.Sprintf("for %d ms", t.Num/1e6), 0)
	case ring.TraceSendFailed:
		l.add("send", "token not delivered to "+t.Peer.String(), "no acknowledgement on any link", 0)
	case ring.TraceIsolated, ring.TraceOut, ring.TraceMember, ring.TraceLeft, ring.TraceColdMade, ring.TraceRejoin, ring.TraceCheckFailed, ring.TraceOtherLease, ring.TraceSettled:
		l.add("state", string(t.Kind), t.Text, 0)
	}
}

// Events returns what happened after the event with that id, oldest first.
func (n *Node) Events(after uint64) []Event { return n.events.after(after) }

// AddEvent puts an upper layer's event into the same log.
func (n *Node) AddEvent(kind, text, why string, gap time.Duration) {
	n.events.add(kind, text, why, gap)
}
