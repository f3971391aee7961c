package rudp

import (
	"encoding/binary"
	"errors"

	"rain/ring/wire"
)

// ErrMalformed says that the bytes are no packet. Count it and drop it.
var ErrMalformed = errors.New("rudp: malformed packet; drop it")

const (
	flagAck  = 1
	flagPing = 2
	flagPong = 4
	flagLive = 8
	flagData = 16
	flagAll  = 31

	// Window is how many fragments may be between the oldest that is not yet
	// acknowledged and the newest that is sent. A message of ring.MaxMessage
	// bytes fits at the smallest payload.
	Window   = 512
	ackWords = Window / 64

	// Overhead is the most that a packet with a fragment adds to its payload.
	Overhead = 1 + (8 + 1 + 8*ackWords) + 8 + 8 + 8 + (8 + 2 + 2)
)

// packet is a parsed packet; payload aliases the bytes that were parsed.
type packet struct {
	flags       byte
	cum         uint64
	words       int
	bits        [ackWords]uint64
	ping, pong  uint64
	live        uint64
	seq         uint64
	frag, count uint16
	payload     []byte
}

func (p *packet) has(flag byte) bool { return p.flags&flag != 0 }

// parse reads one packet. It accepts exactly what appendTo writes.
func (p *packet) parse(b []byte) error {
	r := wire.Reader{B: b}
	*p = packet{flags: r.U8()}
	if p.flags == 0 || p.flags&^flagAll != 0 || p.has(flagData) && !p.has(flagLive) {
		return ErrMalformed
	}
	if p.has(flagAck) {
		p.cum = r.U64()
		p.words = int(r.U8())
		if p.words > ackWords || p.cum > maxSeq {
			return ErrMalformed
		}
		for i := range p.words {
			p.bits[i] = r.U64()
		}
		if p.words > 0 && p.bits[p.words-1] == 0 {
			return ErrMalformed
		}
	}
	if p.has(flagPing) {
		p.ping = r.U64()
	}
	if p.has(flagPong) {
		p.pong = r.U64()
	}
	if p.has(flagLive) {
		p.live = r.U64()
		if p.live > maxSeq {
			return ErrMalformed
		}
	}
	if p.has(flagData) {
		p.seq, p.frag, p.count = r.U64(), r.U16(), r.U16()
		if p.count == 0 || p.count > Window || p.frag >= p.count || p.seq > maxSeq || p.seq < uint64(p.frag) {
			return ErrMalformed
		}
		p.payload, r.B = r.B, nil
	}
	if !r.Done() {
		return ErrMalformed
	}
	return nil
}

// maxSeq keeps sums of sequence numbers and windows far from overflow.
const maxSeq = 1 << 62

// appendTo writes the packet behind b.
func (p *packet) appendTo(b []byte) []byte {
	be := binary.BigEndian
	b = append(b, p.flags)
	if p.has(flagAck) {
		b = be.AppendUint64(b, p.cum)
		b = append(b, byte(p.words))
		for _, w := range p.bits[:p.words] {
			b = be.AppendUint64(b, w)
		}
	}
	if p.has(flagPing) {
		b = be.AppendUint64(b, p.ping)
	}
	if p.has(flagPong) {
		b = be.AppendUint64(b, p.pong)
	}
	if p.has(flagLive) {
		b = be.AppendUint64(b, p.live)
	}
	if p.has(flagData) {
		b = be.AppendUint64(b, p.seq)
		b = be.AppendUint16(b, p.frag)
		b = be.AppendUint16(b, p.count)
		b = append(b, p.payload...)
	}
	return b
}
