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

// heap is a binary heap of events by (at, seq).
type heap struct{ e []event }

func less(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *heap) push(ev event) {
	h.e = append(h.e, ev)
	i := len(h.e) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !less(&ev, &h.e[p]) {
			break
		}
		h.e[i] = h.e[p]
		i = p
	}
	h.e[i] = ev
}

func (h *heap) pop() event {
	top := h.e[0]
	n := len(h.e) - 1
	last := h.e[n]
	h.e[n] = event{}
	h.e = h.e[:n]
	if n == 0 {
		return top
	}
	i := 0
	for {
		k := 2*i + 1
		if k >= n {
			break
		}
		if k+1 < n && less(&h.e[k+1], &h.e[k]) {
			k++
		}
		if !less(&h.e[k], &last) {
			break
		}
		h.e[i] = h.e[k]
		i = k
	}
	h.e[i] = last
	return top
}
