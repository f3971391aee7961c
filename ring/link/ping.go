package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"rain/ring"
)

// PingSize is the length of every ping in bytes.
const PingSize = 2 + 6*8 + 4

const (
	version = 1
	flagUp  = 1
)

// heldUnknown stands for an echo that was held for longer than fits.
const heldUnknown = math.MaxUint32

// ErrMalformed says that the bytes are no ping. Count it and drop it.
var ErrMalformed = errors.New("link: malformed ping; drop it")

// Ping is what one end tells the other; the package comment has its wire form.
type Ping struct {
	Inc, Peer ring.Incarnation
	Up        bool
	Count     uint64 // transitions reported
	Seen      uint64 // transitions of the receiver that were followed
	No        uint64
	Echo      uint64
	Held      time.Duration // negative: not known
}

// Append adds the ping's wire form to b.
func (p Ping) Append(b []byte) []byte {
	flags := byte(0)
	if p.Up {
		flags = flagUp
	}
	b = append(b, version, flags)
	for _, v := range [...]uint64{uint64(p.Inc), uint64(p.Peer), p.Count, p.Seen, p.No, p.Echo} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	held := uint32(heldUnknown)
	if us := p.Held.Microseconds(); p.Held >= 0 && us < heldUnknown { // -1 ns is 0 us
		held = uint32(us)
	}
	return binary.BigEndian.AppendUint32(b, held)
}

// ParsePing reads a ping. The error is or wraps ErrMalformed.
func ParsePing(b []byte) (Ping, error) {
	if len(b) != PingSize {
		return Ping{}, fmt.Errorf("%w: %d bytes, not %d", ErrMalformed, len(b), PingSize)
	}
	if b[0] != version || b[1]&^flagUp != 0 {
		return Ping{}, fmt.Errorf("%w: version %d, flags %#x", ErrMalformed, b[0], b[1])
	}
	var v [6]uint64
	for i := range v {
		v[i] = binary.BigEndian.Uint64(b[2+8*i:])
	}
	p := Ping{
		Inc: ring.Incarnation(v[0]), Peer: ring.Incarnation(v[1]), Up: b[1]&flagUp != 0,
		Count: v[2], Seen: v[3], No: v[4], Echo: v[5], Held: -1,
	}
	if held := binary.BigEndian.Uint32(b[2+6*8:]); held != heldUnknown {
		p.Held = time.Duration(held) * time.Microsecond
	}
	if p.Inc == 0 || p.No == 0 {
		return Ping{}, fmt.Errorf("%w: incarnation %d, number %d", ErrMalformed, p.Inc, p.No)
	}
	return p, nil
}
