package rudp

import (
	"time"

	"rain/ring"
)

// A fragment in the middle of a long message is acknowledged with the next
// ackEvery-th, or after ackDelay. All else is acknowledged at once: the hop of
// a token waits for nothing.
const (
	ackEvery = 4
	ackDelay = time.Millisecond
)

type slot struct {
	data        []byte
	frag, count uint16
	here        bool
}

// receiver is the receiving half. Sequence numbers: head <= cum; the slots hold
// numbers from head to head+Window.
type receiver struct {
	head    uint64 // first fragment of the first message not delivered
	cum     uint64 // first fragment missing
	high    uint64 // behind the highest fragment here
	slots   [Window]slot
	owed    bool // an acknowledgement is due now
	waiting int  // fragments since the last acknowledgement
	ackAt   ring.Instant
	ackLink int
	repeat  bool // the peer sends again: the last acknowledgement went the wrong way
}

func (r *receiver) slot(seq uint64) *slot { return &r.slots[seq%Window] }

func (r *receiver) ackNow(link int) {
	r.owed, r.repeat = true, true
	r.ackLink = link
}

// due reports whether an acknowledgement must go now.
func (r *receiver) due(now ring.Instant) bool {
	return r.owed || r.ackAt != 0 && r.ackAt <= now
}

// fill writes the acknowledgement and notes that it is paid.
func (r *receiver) fill(p *packet) {
	p.cum = r.cum
	for seq := r.cum + 1; seq < r.high; seq++ {
		if r.slot(seq).here {
			i := int(seq - r.cum - 1)
			p.bits[i/64] |= 1 << (i % 64)
			p.words = i/64 + 1
		}
	}
	r.owed, r.waiting, r.ackAt = false, 0, 0
}

func (r *receiver) data(now ring.Instant, link int, p *packet, eff *Effects) {
	if p.seq >= r.head+Window {
		return // no room; the sender does not do that
	}
	if p.seq < r.cum || r.slot(p.seq).here {
		r.ackNow(link) // had it: the acknowledgement was lost
		return
	}
	*r.slot(p.seq) = slot{data: append([]byte(nil), p.payload...), frag: p.frag, count: p.count, here: true}
	r.high = max(r.high, p.seq+1)
	inOrder := p.seq == r.cum
	r.advance()
	r.waiting++
	r.ackLink, r.repeat = link, false
	if !inOrder || r.high > r.cum || p.frag+1 == p.count || r.waiting >= ackEvery {
		r.owed = true
	} else if r.ackAt == 0 {
		r.ackAt = now.Add(ackDelay)
	}
	r.deliver(eff)
}

func (r *receiver) advance() {
	r.cum = max(r.cum, r.head)
	for r.cum < r.head+Window && r.slot(r.cum).here {
		r.cum++
	}
	r.high = max(r.high, r.cum)
}

// deliver hands out all whole messages at the head.
func (r *receiver) deliver(eff *Effects) {
	for r.head < r.cum {
		s := r.slot(r.head)
		if s.frag == 0 && r.head+uint64(s.count) > r.cum {
			break
		}
		r.head += r.take(r.head, eff)
	}
	r.advance()
}

// take delivers the message that starts at seq, if it is whole, and returns how
// many fragments are over with.
func (r *receiver) take(seq uint64, eff *Effects) uint64 {
	first := r.slot(seq)
	count := uint64(first.count)
	size := 0
	whole := first.here && first.frag == 0 && seq+count <= r.head+Window
	for i := uint64(0); whole && i < count; i++ {
		s := r.slot(seq + i)
		whole = s.here && uint64(s.frag) == i && uint64(s.count) == count
		size += len(s.data)
	}
	if !whole || size > ring.MaxMessage {
		*first = slot{}
		return 1
	}
	msg := first.data
	if count > 1 {
		msg = make([]byte, 0, size)
	}
	for i := range count {
		s := r.slot(seq + i)
		if count > 1 {
			msg = append(msg, s.data...)
		}
		*s = slot{}
	}
	eff.Deliver = append(eff.Deliver, msg)
	return count
}

// skipTo stops waiting for fragments below live. What is whole there is
// delivered: the sender may count it as acknowledged.
func (r *receiver) skipTo(live uint64, eff *Effects) {
	if live <= r.head {
		return
	}
	for r.head < live {
		if r.head >= r.high {
			r.head = live // nothing is here any more
			break
		}
		r.head += r.take(r.head, eff)
	}
	r.high = max(r.high, r.head)
	r.advance()
	r.deliver(eff)
}
