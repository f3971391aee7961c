package store

import (
	"encoding/binary"
	"fmt"
	"io"

	"rain/store/array"
	"rain/store/catalog"
)

// stripeHead follows a request of kindColumn: which column of which code comes.
type stripeHead struct {
	code   array.Geometry
	column int
}

const stripeHeadLen = 2 + 2 + 2 + 4

func (h stripeHead) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(h.code.N))
	b = binary.BigEndian.AppendUint16(b, uint16(h.code.K))
	b = binary.BigEndian.AppendUint16(b, uint16(h.column))
	return binary.BigEndian.AppendUint32(b, uint32(h.code.Unit))
}

func parseStripeHead(b []byte) (stripeHead, error) {
	if len(b) != stripeHeadLen {
		return stripeHead{}, fmt.Errorf("store: head of a column of %d bytes: %w", len(b), errWire)
	}
	h := stripeHead{
		code: array.Geometry{
			N: int(binary.BigEndian.Uint16(b)), K: int(binary.BigEndian.Uint16(b[2:])), Unit: int(binary.BigEndian.Uint32(b[6:])),
		},
		column: int(binary.BigEndian.Uint16(b[4:])),
	}
	if err := h.code.Check(); err != nil || h.column >= h.code.N {
		return stripeHead{}, fmt.Errorf("store: head of a column: code (%d,%d), column %d: %w", h.code.N, h.code.K, h.column, errWire)
	}
	return h, nil
}

// columnEnd is what is known of a body when it has come in.
type columnEnd struct {
	body catalog.Sum // the body's name; zero: not known yet
	sum  catalog.Sum
	size int64
}

const columnEndLen = 32 + 32 + 8

func (e columnEnd) known() bool { return e.body != (catalog.Sum{}) }

// append writes the end of a column: a unit of length 0, and what came.
func (e columnEnd) append(b []byte) []byte {
	b = append(b, 0, 0, 0, 0)
	b = append(b, e.body[:]...)
	b = append(b, e.sum[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(e.size))
}

func readColumnEnd(r io.Reader) (e columnEnd, err error) {
	var b [columnEndLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return e, err
	}
	copy(e.body[:], b[:])
	copy(e.sum[:], b[32:])
	e.size = int64(binary.BigEndian.Uint64(b[64:]))
	if e.size < 1 || e.size > 1<<50 || !e.known() {
		return e, fmt.Errorf("store: a column ends with size %d: %w", e.size, errWire)
	}
	return e, nil
}
