package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync/atomic"

	"rain/ring"
	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

const (
	// ahead is how many blocks a member may be behind the client before the put
	// waits for it: what a put holds in memory is this many blocks with their
	// parities, 2.5 MiB at (4,2).
	ahead = 10
	// unitHead is the room before a unit: its length on the wire is in the last
	// four bytes, and the unit begins at a cache line.
	unitHead = 64
	unitTail = 64 // the checksum, and the rest of a cache line
)

// block is a coded block on its way to the members. Column c begins at c*stride.
type block struct {
	buf  []byte
	unit int // length of its units
	refs atomic.Int32
}

func stride(g array.Geometry) int { return unitHead + (g.Unit+63)&^63 + unitTail }

// column is a unit with its checksum; wire has its length before it, too.
func (b *block) column(c, stride int) (unit, wire []byte) {
	from := c*stride + unitHead
	return b.buf[from : from+b.unit+symbol.SumLen], b.buf[from-4 : from+b.unit+symbol.SumLen]
}

// stripePut brings one body to the nodes of its placement.
type stripePut struct {
	s      *Store
	f      *fanout
	code   array.Geometry
	coder  array.Code
	nodes  []ring.NodeID
	sinks  []*sink
	early  columnEnd // what is known before the end; zero: not yet
	hashed bool      // early.sum was computed, not announced
	blocks int64
	end    columnEnd // set before the sinks' channels are closed
}

// codeFor is how a new object of a bucket is coded.
func (s *Store) codeFor(bucket string, nodes int) array.Geometry {
	g := array.Auto(nodes)
	n, k := s.table.Now().Code(bucket)
	switch {
	case n > 0:
		g.N, g.K = int(n), int(k)
	case s.cfg.Code.N > 0:
		g.N, g.K = s.cfg.Code.N, s.cfg.Code.K
	}
	return g
}

// chooseCode says how a new object of a bucket is coded and on which nodes of
// the layout its columns belong.
func (s *Store) chooseCode(bucket string, seed []byte) (array.Geometry, []ring.NodeID, error) {
	all := s.storage()
	g := s.codeFor(bucket, len(all))
	if err := g.Check(); err != nil {
		return g, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if g.N > len(all) {
		return g, nil, fmt.Errorf("%w: its code (%d,%d) needs %d storage nodes, the cluster has %d; add nodes or use a bucket with a smaller code",
			ErrUnavailable, g.N, g.K, g.N, len(all))
	}
	nodes := array.Place(sha256.Sum256(seed), all, g.N)
	living := 0
	for _, m := range s.ring.Members() {
		if slices.Contains(nodes, m) {
			living++
		}
	}
	if err := promise(bucket, s.demand(bucket), g.N, g.K, living); err != nil {
		return g, nil, err
	}
	if living < g.K {
		return g, nil, fmt.Errorf("%w: %d of its %d nodes are up, at least %d must take their symbols; bring nodes back", ErrUnavailable, living, g.N, g.K)
	}
	return g, nodes, nil
}

// placeStriped brings the body of rec, of which head has come, to the disks of
// the living nodes of its placement. It fills in what it learns.
func (s *Store) placeStriped(ctx context.Context, rec *catalog.Record, bucket string, head []byte, rest io.Reader, size int64, announced *catalog.Sum) (stored int, err error) {
	code, nodes, err := s.chooseCode(bucket, head)
	if err != nil {
		return 0, err
	}
	coder, err := s.code(code)
	if err != nil {
		return 0, err
	}
	f := s.newFanout(ctx)
	defer f.close()
	f.among, f.least = nodes, code.K+s.demand(bucket)
	p := &stripePut{s: s, f: f, code: code, coder: coder, nodes: nodes, early: columnEnd{size: max(size, 0)}}
	body, err := p.learn(io.MultiReader(bytes.NewReader(head), rest), announced)
	if err != nil {
		return 0, err
	}
	rec.N, rec.K, rec.Unit, rec.Nodes = uint16(code.N), uint16(code.K), uint32(code.Unit), nodes
	if p.early.sum != (catalog.Sum{}) && p.early.size > 0 {
		rec.Sum, rec.Size = p.early.sum, p.early.size
		p.early.body = rec.Derive().Body
	}
	p.start()
	if rec.Sum, rec.Size, err = p.feed(body); err != nil {
		return 0, err
	}
	p.end = columnEnd{rec.Derive().Body, rec.Sum, rec.Size}
	for _, k := range p.sinks {
		close(k.ch)
	}
	if err := f.wait(ctx); err != nil {
		return 0, unkept(bucket, s.demand(bucket), err)
	}
	s.noteLeftOut(rec.Derive(), f)
	return len(f.acked), nil
}

// learn reads ahead: a body that is no longer than streamFrom is hashed first,
// so that members that have it need not get it again.
func (p *stripePut) learn(body io.Reader, announced *catalog.Sum) (io.Reader, error) {
	if announced != nil {
		p.early.sum = *announced
		if p.early.size > 0 {
			return body, nil
		}
	}
	early := make([]byte, streamFrom+1)
	if p.early.size > 0 && p.early.size <= streamFrom {
		early = early[:p.early.size+1]
	}
	n, whole, err := readChunk(body, early)
	if err != nil {
		return nil, err
	}
	early = early[:n]
	if !whole {
		return io.MultiReader(bytes.NewReader(early), body), nil
	}
	if err := checkSize(int64(n), p.early.size); err != nil {
		return nil, err
	}
	sum := catalog.Sum(sha256.Sum256(early))
	if announced != nil && *announced != sum {
		return nil, wrongSum(sum, *announced)
	}
	p.early.sum, p.early.size, p.hashed = sum, int64(n), true
	return bytes.NewReader(early), nil
}

func wrongSum(sum, announced catalog.Sum) error {
	return fmt.Errorf("store: body has sha256 %s, announced was %s: %w", sum, announced, ErrBadBody)
}

// start opens the ways to the living nodes of the placement.
func (p *stripePut) start() {
	members := p.s.ring.Members()
	p.f.results = make(chan ack, len(p.nodes))
	for c, id := range p.nodes {
		if !slices.Contains(members, id) {
			continue // the repair brings its column when it is back
		}
		ctx, cancel := context.WithCancelCause(p.f.ctx)
		k := &sink{node: id, column: c, ch: make(chan *block, ahead), dead: make(chan struct{}), drop: cancel}
		p.sinks = append(p.sinks, k)
		p.f.run(id, func() error {
			defer cancel(nil)
			defer close(k.dead)
			if id == p.s.ring.Self() {
				return p.toDisk(ctx, k)
			}
			return p.toMember(ctx, k)
		})
	}
}

// feed reads the body, codes it and hands the columns out. It returns the hash
// and the size.
func (p *stripePut) feed(body io.Reader) (sum catalog.Sum, n int64, err error) {
	var h hash.Hash
	if !p.hashed {
		h = sha256.New()
	}
	step, checked := stride(p.code), int64(0)
	for {
		b, _ := p.s.blocks.Get().(*block)
		if b == nil || len(b.buf) != p.code.N*step {
			b = &block{buf: make([]byte, p.code.N*step)}
		}
		r, end, err := p.fill(b, body, h)
		if err != nil {
			return sum, n, err
		}
		if n += int64(r); n > p.s.cfg.MaxObject {
			return sum, n, p.s.tooLarge()
		}
		if n-checked >= 16<<20 {
			checked = n
			if err := p.s.disk.room(0); err != nil {
				return sum, n, err
			}
		}
		if r > 0 {
			if err := p.hand(b); err != nil {
				return sum, n, err
			}
		}
		if end {
			break
		}
	}
	if err := checkSize(n, p.early.size); err != nil {
		return sum, n, err
	}
	if h == nil {
		return p.early.sum, n, nil
	}
	h.Sum(sum[:0])
	if p.early.sum != (catalog.Sum{}) && sum != p.early.sum {
		return sum, n, wrongSum(sum, p.early.sum)
	}
	return sum, n, nil
}

// fill reads a block, of r bytes, and codes it.
func (p *stripePut) fill(b *block, body io.Reader, h hash.Hash) (r int, end bool, err error) {
	step, k := stride(p.code), p.code.K
	b.unit = p.code.Unit
	for c := 0; c < k && !end; c++ {
		unit, _ := b.column(c, step)
		unit = unit[:p.code.Unit]
		var n int
		if n, end, err = readChunk(body, unit); err != nil {
			return r, end, err
		}
		if r += n; h != nil {
			h.Write(unit[:n])
		}
	}
	if r == 0 {
		return 0, true, nil
	}
	if int64(r) < p.code.Block() {
		p.shorten(b, r)
	}
	units := make([][]byte, p.code.N)
	for c := range units {
		u, _ := b.column(c, step)
		units[c] = u[:b.unit]
	}
	if err := p.coder.Encode(units); err != nil {
		return r, end, err
	}
	for c, u := range units {
		binary.BigEndian.PutUint32(u[b.unit:b.unit+symbol.SumLen], symbol.Checksum(u, c, p.blocks))
		binary.BigEndian.PutUint32(b.buf[c*step+unitHead-4:], uint32(b.unit))
	}
	p.blocks++
	return r, end, nil
}

// shorten cuts a block of r bytes into units that are no longer than need be.
func (p *stripePut) shorten(b *block, r int) {
	step := stride(p.code)
	flat := make([]byte, 0, p.code.Block())
	for c := 0; len(flat) < r; c++ {
		unit, _ := b.column(c, step)
		flat = append(flat, unit[:min(p.code.Unit, r-len(flat))]...)
	}
	b.unit = array.UnitOf(r, p.code.K)
	flat = flat[:b.unit*p.code.K]
	clear(flat[r:])
	for c := range p.code.K {
		unit, _ := b.column(c, step)
		copy(unit, flat[c*b.unit:(c+1)*b.unit])
	}
}
