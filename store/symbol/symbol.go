// Package symbol is the format of symbol files: one column of one part of an
// object on one node's disk.
//
// A file is the column's units of the part in their order, each followed by its
// checksum, and then a trailer that says what all that is. So a stream of unknown
// length is written front to back, and a range of units is one read. The trailer
// comes last because the object's hash is known last.
//
// Big-endian:
//
//	file:    units x (unit | crc32c u32) | trailer
//	trailer: "RAINSYM1" | body [32] | sha256 of the object [32] | size of the object u64 |
//	         n u16 | k u16 | column u16 | unit u32 | part u32 | crc32c u32 of the trailer before it
//
// The checksum covers the unit, then the column u16 and the number of its block
// in the object u64: a unit in another's place is as bad as a changed one. It is
// made when the block is coded and travels with the unit to whoever decodes it.
//
// Guarantee: Units returns only units whose checksum holds. Lengths follow from
// the layout, package array; they are not read from the file.
package symbol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"rain/store/array"
)

const (
	magic = "RAINSYM1"
	// TrailerLen is the length of a trailer.
	TrailerLen = len(magic) + 32 + 32 + 8 + 2 + 2 + 2 + 4 + 4 + 4
	// SumLen is the length of a unit's checksum.
	SumLen = 4
)

// ErrDamaged says that bytes are no trailer, or not the one expected.
var ErrDamaged = errors.New("the symbol file is damaged or another's")

// Info is what a trailer says.
type Info struct {
	Body   [32]byte // name of the striped body, of all its parts
	Sum    [32]byte // SHA-256 of the object
	Size   int64    // of the object
	Code   array.Geometry
	Column int
	Part   int
}

// Layout is the layout of the object.
func (i Info) Layout() array.Layout { return array.Layout{Geometry: i.Code, Size: i.Size} }

// Append appends the trailer.
func (i Info) Append(b []byte) []byte {
	from := len(b)
	b = append(b, magic...)
	b = append(b, i.Body[:]...)
	b = append(b, i.Sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(i.Size))
	b = binary.BigEndian.AppendUint16(b, uint16(i.Code.N))
	b = binary.BigEndian.AppendUint16(b, uint16(i.Code.K))
	b = binary.BigEndian.AppendUint16(b, uint16(i.Column))
	b = binary.BigEndian.AppendUint32(b, uint32(i.Code.Unit))
	b = binary.BigEndian.AppendUint32(b, uint32(i.Part))
	return binary.BigEndian.AppendUint32(b, checksum(b[from:]))
}

// Parse reads a trailer. What it accepts, Append writes back byte for byte.
func Parse(b []byte) (Info, error) {
	if len(b) != TrailerLen || string(b[:len(magic)]) != magic ||
		checksum(b[:TrailerLen-SumLen]) != binary.BigEndian.Uint32(b[TrailerLen-SumLen:]) {
		return Info{}, fmt.Errorf("symbol: trailer of %d bytes: %w", len(b), ErrDamaged)
	}
	var i Info
	b = b[len(magic):]
	copy(i.Body[:], b)
	copy(i.Sum[:], b[32:])
	b = b[64:]
	i.Size = int64(binary.BigEndian.Uint64(b))
	i.Code.N = int(binary.BigEndian.Uint16(b[8:]))
	i.Code.K = int(binary.BigEndian.Uint16(b[10:]))
	i.Column = int(binary.BigEndian.Uint16(b[12:]))
	i.Code.Unit = int(binary.BigEndian.Uint32(b[14:]))
	i.Part = int(binary.BigEndian.Uint32(b[18:]))
	if err := i.Code.Check(); err != nil {
		return Info{}, fmt.Errorf("symbol: trailer: %w: %w", ErrDamaged, err)
	}
	if i.Size < 1 || i.Size > 1<<50 || i.Column >= i.Code.N || i.Part >= i.Layout().Parts() {
		return Info{}, fmt.Errorf("symbol: trailer with size %d, column %d, part %d: %w", i.Size, i.Column, i.Part, ErrDamaged)
	}
	return i, nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Checksum is the checksum of a unit: block counts from the object's beginning.
func Checksum(unit []byte, column int, block int64) uint32 {
	var place [10]byte
	binary.BigEndian.PutUint16(place[:], uint16(column))
	binary.BigEndian.PutUint64(place[2:], uint64(block))
	return crc32.Update(checksum(unit), crc32.MakeTable(crc32.Castagnoli), place[:])
}

// FileLen is the length of a part's symbol file.
func FileLen(l array.Layout, part int) int64 {
	first, end := l.Part(part)
	return RangeLen(l, first, end) + int64(TrailerLen)
}

// RangeLen is how many bytes the units of the blocks [first, end) take in a file.
func RangeLen(l array.Layout, first, end int64) int64 {
	if first >= end {
		return 0
	}
	return (end-first-1)*int64(l.Unit+SumLen) + int64(l.UnitLen(end-1)+SumLen)
}

// Offset is where a block's unit begins in its part's file.
func Offset(l array.Layout, block int64) int64 {
	return block % l.PartBlocks() * int64(l.Unit+SumLen)
}

// ReadInfo reads the trailer of a file of size bytes.
func ReadInfo(r io.ReaderAt, size int64) (Info, error) {
	if size < int64(TrailerLen) {
		return Info{}, fmt.Errorf("symbol: file of %d bytes: %w", size, ErrDamaged)
	}
	var b [TrailerLen]byte
	if n, err := r.ReadAt(b[:], size-int64(TrailerLen)); n < len(b) {
		return Info{}, fmt.Errorf("symbol: read trailer: %w", err)
	}
	return Parse(b[:])
}

// Units cuts the bytes of the blocks [first, first+len(units)) of a column into
// units, in place; those whose checksum does not hold, or that raw does not
// reach, are nil. It returns how many are good.
func Units(units [][]byte, raw []byte, l array.Layout, column int, first int64) (good int) {
	for i := range units {
		units[i] = nil
		n := l.UnitLen(first + int64(i))
		if len(raw) < n+SumLen {
			raw = nil
			continue
		}
		unit := raw[:n:n]
		if Checksum(unit, column, first+int64(i)) == binary.BigEndian.Uint32(raw[n:]) {
			units[i] = unit
			good++
		}
		raw = raw[n+SumLen:]
	}
	return good
}
