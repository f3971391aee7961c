package store

import (
	"encoding/binary"

	"rain/ring"
	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

// layoutOf is how a striped body is cut.
func layoutOf(r *catalog.Record) array.Layout {
	return array.Layout{Geometry: array.Geometry{N: int(r.N), K: int(r.K), Unit: int(r.Unit)}, Size: r.Size}
}

// pieceName is the name of the symbol files of a part of a striped body: equal
// on all nodes, whichever column they hold.
func pieceName(body catalog.Sum, part int) catalog.Sum {
	binary.BigEndian.PutUint32(body[len(body)-4:], uint32(part))
	return body
}

// partOf takes a name apart.
func partOf(name catalog.Sum) (body catalog.Sum, part int) {
	part = int(binary.BigEndian.Uint32(name[len(name)-4:]))
	clear(name[len(name)-4:])
	return name, part
}

// piece is a file that a node should have: a whole body, or its column of a
// part of a striped one.
type piece struct {
	name catalog.Sum
	size int64 // of the file
	rec  *catalog.Record
	part int
}

// pieces calls f for each piece of the body that belongs on the node.
func pieces(r *catalog.Record, id ring.NodeID, f func(piece)) {
	if !r.Striped() {
		f(piece{name: r.Sum, size: r.Size, rec: r})
		return
	}
	if r.Column(id) < 0 {
		return
	}
	l := layoutOf(r)
	for p := range l.Parts() {
		f(piece{pieceName(r.Body, p), symbol.FileLen(l, p), r, p})
	}
}

// findPiece returns the piece of that name that the node should have.
func findPiece(v *catalog.View, name catalog.Sum, id ring.NodeID) (piece, bool) {
	if b, ok := v.Body(name); ok && !b.Rec.Striped() {
		return piece{name: name, size: b.Rec.Size, rec: b.Rec}, true
	}
	body, part := partOf(name)
	b, ok := v.Body(body)
	if !ok || !b.Rec.Striped() || b.Rec.Column(id) < 0 {
		return piece{}, false
	}
	l := layoutOf(b.Rec)
	if part >= l.Parts() {
		return piece{}, false
	}
	return piece{name, symbol.FileLen(l, part), b.Rec, part}, true
}

// code returns the code of a geometry; codes keep tables worth sharing.
func (s *Store) code(g array.Geometry) (array.Code, error) {
	key := [2]int{g.N, g.K}
	if c, ok := s.codes.Load(key); ok {
		return c.(array.Code), nil
	}
	c, err := array.New(g.N, g.K)
	if err != nil {
		return nil, err
	}
	s.codes.Store(key, c)
	return c, nil
}
