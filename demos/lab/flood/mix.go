package flood

import (
	"errors"
	"math/rand/v2"
)

// maxJunk is the longest datagram that is made up.
const maxJunk = 1472

// Kinds are the names of what Mix makes, by number.
var Kinds = [...]string{"junk", "headers", "flips", "replays"}

// Mix makes datagrams.
type Mix struct {
	heard [][]byte
	rng   *rand.Rand
	buf   []byte
	Sent  [len(Kinds)]uint64
}

// NewMix takes what was heard.
func NewMix(heard [][]byte, seed uint64) (*Mix, error) {
	if len(heard) == 0 {
		return nil, errors.New("flood: nothing was heard; capture a port of the node for a second while the ring turns")
	}
	return &Mix{heard: heard, rng: rand.New(rand.NewPCG(seed, 5))}, nil
}

// Next makes a datagram; it is valid until the next call.
func (m *Mix) Next() []byte {
	kind := m.rng.IntN(len(Kinds))
	m.Sent[kind]++
	one := m.heard[m.rng.IntN(len(m.heard))]
	switch b := append(m.buf[:0], one...); kind {
	case 0:
		m.buf = m.junk(b[:0], 1+m.rng.IntN(maxJunk))
	case 1:
		m.buf = m.junk(b[:min(len(b), headerEnd)], m.rng.IntN(maxJunk-headerEnd))
	case 2:
		b[m.rng.IntN(len(b))] ^= 1 << m.rng.IntN(8)
		m.buf = b
	default:
		m.buf = b
	}
	return m.buf
}

func (m *Mix) junk(b []byte, n int) []byte {
	for range n {
		b = append(b, byte(m.rng.Uint32()))
	}
	return b
}
