package sim

import "rain/ring"

// kind says what an event of the simulation does.
type kind uint8

const (
	evTimer   kind = iota // a machine's wake-up
	evAttempt             // a packet is sent (again)
	evArrive              // a packet reaches its node's socket
	evAck                 // an acknowledgement reaches the sender
	evDisk                // a sync ends
	evSaved               // the process hears of it
	evFault               // the next fault
	evPropose             // a client's work
	evFetch               // a snapshot is taken at its giver
	evFetched             // it has come
	evResume              // a pause ends
	evStart               // a process starts
	evGrab                // a client wants a thing
	evWitness             // the witness answers
	evStep                // a step that waited in a paused process
)

// event is one thing to happen at a true time. Which fields mean something
// depends on the kind.
type event struct {
	at   int64
	seq  uint64 // ties go in the order of scheduling
	kind kind
	node int
	life int // of the node; events of an earlier life are void
	num  uint64
	ok   bool
	pkt  *packet
	snap *snapshot
	step ring.Event

	ask   ring.WitnessAsk
	named ring.NodeID
}

// heap is a binary heap of events by (at, seq). What is moved about is small and
// free of pointers; the events themselves stay where they are until their time.
type heap struct {
	e      []key
	events []event
	free   []int32 // of events
}

// key is when an event is due and where it lies.
type key struct {
	at   int64
	seq  uint64
	slot int32
}

func less(a, b *key) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *heap) push(ev event) {
	k := key{at: ev.at, seq: ev.seq, slot: int32(len(h.events))}
	if n := len(h.free); n > 0 {
		k.slot, h.free = h.free[n-1], h.free[:n-1]
		h.events[k.slot] = ev
	} else {
		h.events = append(h.events, ev)
	}
	h.e = append(h.e, k)
	i := len(h.e) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !less(&k, &h.e[p]) {
			break
		}
		h.e[i] = h.e[p]
		i = p
	}
	h.e[i] = k
}

func (h *heap) pop() event {
	slot := h.e[0].slot
	top := h.events[slot]
	h.events[slot] = event{} // what it points to is garbage soon
	h.free = append(h.free, slot)
	n := len(h.e) - 1
	last := h.e[n]
	h.e = h.e[:n]
	if n > 0 {
		h.sink(last)
	}
	return top
}

// sink puts k where it belongs from the top down, which is vacant.
func (h *heap) sink(k key) {
	n, i := len(h.e), 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && less(&h.e[c+1], &h.e[c]) {
			c++
		}
		if !less(&h.e[c], &k) {
			break
		}
		h.e[i] = h.e[c]
		i = c
	}
	h.e[i] = k
}
