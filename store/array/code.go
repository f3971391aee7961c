package array

import (
	"errors"
	"fmt"

	"github.com/klauspost/reedsolomon"
)

// ErrTooFew says that fewer than k columns of a block are there.
var ErrTooFew = errors.New("array: too few columns of the block are left")

// Code turns k units into n and back. The units of one block have one length.
type Code interface {
	// Encode fills units[k:], which have their length already, from units[:k].
	Encode(units [][]byte) error
	// Rebuild fills the lost units that are wanted. A unit of length 0 is lost;
	// if it has the capacity, its memory is used. It may fill others, too.
	// ErrTooFew: fewer than k are there.
	Rebuild(units [][]byte, wanted []bool) error
}

// New returns the code of n columns of which any k give the block back.
func New(n, k int) (Code, error) {
	if err := (Geometry{N: n, K: k, Unit: 1}).Check(); err != nil {
		return nil, err
	}
	if n == k {
		return plain(n), nil
	}
	e, err := reedsolomon.New(k, n-k, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("array: code (%d,%d): %w", n, k, err)
	}
	return &solomon{e: e, n: n, k: k}, nil
}

// solomon is Reed-Solomon.
type solomon struct {
	e    reedsolomon.Encoder
	n, k int
}

func (s *solomon) Encode(units [][]byte) error {
	if err := s.e.Encode(units); err != nil {
		return fmt.Errorf("array: encode (%d,%d): %w", s.n, s.k, err)
	}
	return nil
}

func (s *solomon) Rebuild(units [][]byte, wanted []bool) error {
	need := make([]bool, s.n)
	lost, parity := false, false
	for i, w := range wanted {
		if w && len(units[i]) == 0 {
			need[i], lost = true, true
			parity = parity || i >= s.k
		}
	}
	if !lost {
		return nil
	}
	// A parity is made of all data units.
	for i := range s.k {
		need[i] = need[i] || parity && len(units[i]) == 0
	}
	err := s.e.ReconstructSome(units, need)
	switch {
	case errors.Is(err, reedsolomon.ErrTooFewShards), errors.Is(err, reedsolomon.ErrShardNoData):
		return ErrTooFew
	case err != nil:
		return fmt.Errorf("array: rebuild (%d,%d): %w", s.n, s.k, err)
	}
	return nil
}

// plain is the code without parities.
type plain int

func (plain) Encode([][]byte) error { return nil }

func (p plain) Rebuild(units [][]byte, wanted []bool) error {
	for i, w := range wanted {
		if w && len(units[i]) == 0 {
			return ErrTooFew
		}
	}
	return nil
}
