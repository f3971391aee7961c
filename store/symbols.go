package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"rain/ring"
	"rain/store/catalog"
)

// maxParts bounds what is asked for: an object has fewer parts of 64 MiB.
const maxParts = 1 << 24

// Plan says how a version of an object is cut and where its columns lie, for
// clients that decode by themselves (packages array and symbol).
type Plan struct {
	Info
	// Body names the symbols in SymbolFile; empty: the object is small and lies
	// whole on every member.
	Body  string
	Unit  int           // the stripe unit, bytes
	Nodes []ring.NodeID // who should hold each column, in the columns' order
}

// Plan describes the newest version that this member knows.
func (s *Store) Plan(bucket, key string) (Plan, error) {
	rec, err := s.find(bucket, key)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Info: s.infoOf(bucket, key, rec)}
	if rec.Striped() {
		p.Body, p.Unit, p.Nodes = rec.Body.String(), int(rec.Unit), append(p.Nodes, rec.Nodes...)
	}
	return p, nil
}

// SymbolFile opens this node's symbol file of a part and column of a striped
// body, which Plan names; package symbol has the format. Its trailer was checked,
// its units were not: each carries its checksum, and who decodes holds it to
// that. The file stays readable if the object is deleted meanwhile, and all symbols
// of the body stay for Config.OrphanGrace after the last call. What is not on this
// node's disk is ErrNotFound. The caller closes the file.
func (s *Store) SymbolFile(body string, part, column int) (*os.File, int64, error) {
	where := fmt.Sprintf("column %d of part %d of body %.80q", column, part, body)
	var name catalog.Sum
	raw, err := hex.DecodeString(body)
	if err != nil || len(raw) != len(name) || part < 0 || part >= maxParts {
		return nil, 0, fmt.Errorf("store: %s: %w", where, ErrNotFound)
	}
	copy(name[:], raw)
	piece := pieceName(name, part)
	if b, ok := s.table.Now().Body(piece); ok && !b.Rec.Striped() {
		return nil, 0, fmt.Errorf("store: %s is the whole of a small body: %w", where, ErrNotFound)
	}
	f, _, i, err := s.openSymbol(piece)
	if errors.Is(err, statusError(statusAbsent)) {
		return nil, 0, fmt.Errorf("store: %s is not on this node: %w", where, ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("store: %s: %w: %w", where, ErrUnavailable, err)
	}
	s.lend(name)
	if i.Column != column || i.Body != name {
		return nil, 0, errors.Join(fmt.Errorf("store: %s is not on this node, it has column %d: %w", where, i.Column, ErrNotFound), f.Close())
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("store: %s: %w", where, err), f.Close())
	}
	return f, st.Size(), nil
}

// lend counts a body as open here, as who reads its symbols will want the others.
func (s *Store) lend(body catalog.Sum) {
	rec := s.pins.last(body)
	if b, ok := s.table.Now().Body(body); ok {
		rec = b.Rec
	}
	if rec != nil {
		s.pins.lend(rec, s.now().Add(s.cfg.OrphanGrace))
	}
}
