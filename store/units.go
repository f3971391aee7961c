package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"

	"rain/ring"
	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

// unitsHeadLen is the head of an answer with units: status, column u16, bytes u32.
const unitsHeadLen = 1 + 2 + 4

// maxUnitBytes is the most that one answer carries: a window of units of the
// largest size.
const maxUnitBytes = 4 << 20

// raw returns a buffer of n bytes; freeRaw takes it back.
func (s *Store) raw(n int64) []byte {
	if b, ok := s.rawsOf(n).Get().(*[]byte); ok && int64(cap(*b)) >= n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

func (s *Store) freeRaw(b []byte) {
	if cap(b) > 0 {
		s.rawsOf(int64(cap(b))).Put(&b)
	}
}

// rawsOf keeps buffers of single units, of a column's part of a window, and of
// windows apart: none of them waits in vain for one that is large enough.
func (s *Store) rawsOf(n int64) *sync.Pool {
	switch {
	case n > 3<<18:
		return &s.raws[2]
	case n > 2*array.DefaultUnit:
		return &s.raws[1]
	}
	return &s.raws[0]
}

// openSymbol opens a piece of this node's disk and reads what it is.
func (s *Store) openSymbol(name catalog.Sum) (*os.File, *local, symbol.Info, error) {
	l, size, _ := s.bodies.get(name)
	if l == nil {
		return nil, nil, symbol.Info{}, statusError(statusAbsent)
	}
	s.bodies.touch(name) // who still reads what was deleted may go on
	f, err := s.openLocal(name, l, size)
	if err != nil {
		return nil, nil, symbol.Info{}, err
	}
	i, err := symbol.ReadInfo(f, size)
	if err == nil && (pieceName(i.Body, i.Part) != name || symbol.FileLen(i.Layout(), i.Part) != size) {
		err = symbol.ErrDamaged
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, i, s.loseCopy(name, l, fmt.Errorf("store: symbol %s: %w", name, err))
	}
	return f, l, i, nil
}

// readUnits reads the units of the blocks [first, end) from this node's disk
// into raw. Those that are bad are nil, and will be rebuilt.
func (s *Store) readUnits(f *os.File, l *local, i symbol.Info, first, end int64, units [][]byte, raw []byte) {
	n, err := f.ReadAt(raw, symbol.Offset(i.Layout(), first))
	if n == len(raw) {
		err = nil
	}
	if good := symbol.Units(units, raw[:n], i.Layout(), i.Column, first); good < len(units) {
		s.damaged(pieceName(i.Body, i.Part), l, len(units)-good, err)
	}
}

// damaged notes bad units of a piece; the repair makes them anew.
func (s *Store) damaged(name catalog.Sum, l *local, n int, err error) {
	if s.bodies.damage(name, l) {
		s.checksumFailures.Add(int64(n))
		s.kickRepair()
		s.log.Warn("bad units on this disk, rebuilding the symbol from the other columns",
			slog.String("piece", name.String()), slog.Int("units", n), slog.Any("error", err))
	}
}

// serveUnits answers a request for units: sum is the piece, size the first block
// of its part and how many.
func (s *Store) serveUnits(c *stallConn, r request) error {
	f, l, i, err := s.openSymbol(r.sum)
	if err != nil {
		return answer(c, statusAbsent)
	}
	defer f.Close()
	from, to := i.Layout().Part(i.Part)
	first := from + int64(r.size>>32)
	end := first + int64(uint32(r.size))
	if end > to {
		return answer(c, statusFailed)
	}
	n := symbol.RangeLen(i.Layout(), first, end)
	if n > maxUnitBytes {
		return answer(c, statusFailed)
	}
	msg := s.raw(unitsHeadLen + n)
	defer s.freeRaw(msg)
	msg[0] = byte(statusHave)
	binary.BigEndian.PutUint16(msg[1:], uint16(i.Column))
	binary.BigEndian.PutUint32(msg[3:], uint32(n))
	// Bad units go out, too: their checksums do not hold there either.
	s.readUnits(f, l, i, first, end, make([][]byte, end-first), msg[unitsHeadLen:])
	_, err = c.Write(msg)
	return err
}

// unitRange is a run of blocks of one part, of one column.
type unitRange struct {
	layout     array.Layout
	body       catalog.Sum
	part       int
	first, end int64 // blocks
}

func (r unitRange) name() catalog.Sum { return pieceName(r.body, r.part) }
func (r unitRange) len() int64        { return symbol.RangeLen(r.layout, r.first, r.end) }

// localUnits reads a column's units from this node's disk.
func (s *Store) localUnits(r unitRange, column int, units [][]byte, raw []byte) error {
	f, l, i, err := s.openSymbol(r.name())
	if err != nil {
		return err
	}
	defer f.Close()
	if i.Column != column || i.Layout() != r.layout {
		return s.loseCopy(r.name(), l, fmt.Errorf("store: symbol %s is column %d of a code (%d,%d): %w", r.name(), i.Column, i.Code.N, i.Code.K, symbol.ErrDamaged))
	}
	s.readUnits(f, l, i, r.first, r.end, units, raw)
	return nil
}

// fetchUnits gets a column's units from a member; those that are bad are nil.
func (s *Store) fetchUnits(ctx context.Context, peer ring.NodeID, r unitRange, column int, units [][]byte, raw []byte) error {
	from, _ := r.layout.Part(r.part)
	req := request{kindUnits, r.name(), uint64(r.first-from)<<32 | uint64(r.end-r.first)}
	err := s.call(ctx, peer, serviceGet, func(conn net.Conn) error {
		c, release := guardConn(ctx, conn, s.cfg.PeerStall)
		defer release()
		if _, err := c.Write(req.append(nil)); err != nil {
			return err
		}
		st, err := c.readStatus(s.cfg.PeerStall)
		if err != nil {
			return err
		}
		if st != statusHave {
			return statusError(st)
		}
		var b [unitsHeadLen - 1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return err
		}
		if got, n := int(binary.BigEndian.Uint16(b[:])), binary.BigEndian.Uint32(b[2:]); got != column || int64(n) != int64(len(raw)) {
			return fmt.Errorf("store: %d bytes of column %d came, %d of %d were asked for: %w", n, got, len(raw), column, errWire)
		}
		_, err = io.ReadFull(c, raw)
		return err
	})
	if err != nil {
		return err
	}
	if good := symbol.Units(units, raw, r.layout, column, r.first); good < len(units) && good == 0 {
		return fmt.Errorf("store: units of column %d from %s: %w", column, peer, errDamaged)
	}
	return nil
}

var errTooFew = errors.New("too few symbols of the object are in reach; bring nodes back")
