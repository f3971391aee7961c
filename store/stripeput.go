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
	// gather is how many blocks go their way together: a hand-over, and a write to
	// a member, cost a wake-up each. Eight cost a twentieth less than four.
	gather = 8
	// ahead is how many batches a member may be behind the client before the put
	// waits for it.
	ahead = 1
	// unitHead is a unit's length on the wire, before it.
	unitHead = 4
)

// batch is up to gather coded blocks on their way to the members: for each column
// its units as they go over the wire, each with its length and its checksum.
type batch struct {
	buf   []byte
	units int // of each column
	last  int // length of the last unit; those before are whole
	refs  atomic.Int32
}

func wireUnit(g array.Geometry) int { return unitHead + g.Unit + symbol.SumLen }

func newBatch(g array.Geometry) *batch { return &batch{buf: make([]byte, batchLen(g))} }

func batchLen(g array.Geometry) int { return g.N * gather * wireUnit(g) }

// room is where unit i of column c lies: its length, itself and its checksum.
func (b *batch) room(g array.Geometry, c, i int) []byte {
	from := (c*gather + i) * wireUnit(g)
	return b.buf[from : from+wireUnit(g)]
}

// unit is unit i of column c with its checksum.
func (b *batch) unit(g array.Geometry, c, i int) []byte {
	n := g.Unit
	if i == b.units-1 {
		n = b.last
	}
	return b.room(g, c, i)[unitHead:][:n+symbol.SumLen]
}

// wire is what goes to the member that has column c.
func (b *batch) wire(g array.Geometry, c int) []byte {
	from := c * gather * wireUnit(g)
	return b.buf[from : from+(b.units-1)*wireUnit(g)+unitHead+b.last+symbol.SumLen]
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
		// This node's own disk takes its column also while the view lacks the node
		// for a moment: the put is not confirmed without it.
		if id != p.s.ring.Self() && !slices.Contains(members, id) {
			continue // the repair brings its column when it is back
		}
		ctx, cancel := context.WithCancelCause(p.f.ctx)
		k := &sink{node: id, column: c, ch: make(chan *batch, ahead), dead: make(chan struct{}), drop: cancel}
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
	checked := int64(0)
	for size, end := 1, false; !end; size = min(2*size, gather) { // the first ones soon
		b, _ := p.s.batches.Get().(*batch)
		if b == nil || len(b.buf) != batchLen(p.code) {
			b = newBatch(p.code)
		}
		var r int
		if r, end, err = p.fill(b, size, body, h); err != nil {
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

// fill reads up to size blocks, of r bytes, and codes them.
func (p *stripePut) fill(b *batch, size int, body io.Reader, h hash.Hash) (r int, end bool, err error) {
	b.units, b.last = 0, p.code.Unit
	for b.units < size && !end {
		var n int
		if n, end, err = p.fillBlock(b, body, h); err != nil {
			return r, end, err
		}
		r += n
	}
	return r, end, nil
}

// fillBlock reads the batch's next block, of r bytes, and codes it.
func (p *stripePut) fillBlock(b *batch, body io.Reader, h hash.Hash) (r int, end bool, err error) {
	i := b.units
	for c := 0; c < p.code.K && !end; c++ {
		unit := b.room(p.code, c, i)[unitHead:][:p.code.Unit]
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
	b.units++
	if int64(r) < p.code.Block() {
		p.shorten(b, i, r)
	}
	units := make([][]byte, p.code.N)
	for c := range units {
		units[c] = b.unit(p.code, c, i)
		units[c] = units[c][:len(units[c])-symbol.SumLen]
	}
	if err := p.coder.Encode(units); err != nil {
		return r, end, err
	}
	for c, u := range units {
		binary.BigEndian.PutUint32(u[len(u):len(u)+symbol.SumLen], symbol.Checksum(u, c, p.blocks))
		binary.BigEndian.PutUint32(b.room(p.code, c, i), uint32(len(u)))
	}
	p.blocks++
	return r, end, nil
}

// shorten cuts the batch's last block, of r bytes, into units that are no longer
// than need be.
func (p *stripePut) shorten(b *batch, i, r int) {
	flat := make([]byte, 0, p.code.Block())
	for c := 0; len(flat) < r; c++ {
		unit := b.room(p.code, c, i)[unitHead:]
		flat = append(flat, unit[:min(p.code.Unit, r-len(flat))]...)
	}
	b.last = array.UnitOf(r, p.code.K)
	flat = flat[:b.last*p.code.K]
	clear(flat[r:])
	for c := range p.code.K {
		copy(b.room(p.code, c, i)[unitHead:], flat[c*b.last:(c+1)*b.last])
	}
}
