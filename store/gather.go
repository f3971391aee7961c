package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// gathering collects units of a run of blocks until the wanted columns are there
// or can be computed.
type gathering struct {
	s      *Store
	r      unitRange
	k      int
	wanted []bool
	units  [][][]byte // block, column
	raws   [][]byte   // what units lie in
	ways   []*way     // not tried yet, the cheapest first
	direct bool       // only the wanted columns are asked for
	active map[int]*way
	whole  int // columns that came without a bad unit
	ctx    context.Context
	wg     sync.WaitGroup
	back   chan arrived
	errs   []error
}

// way is where a column may be had.
type way struct {
	node   ring.NodeID
	column int
	cost   time.Duration
	late   bool
}

type arrived struct {
	w     *way
	units [][]byte
	raw   []byte
	err   error
}

// gather brings the wanted columns of the blocks of r, from this node's disk and
// the cheapest members. A member that is late costs a hedge. release must be
// called; units are valid until then.
func (s *Store) gather(ctx context.Context, rec *catalog.Record, r unitRange, wanted []bool) (*gathering, error) {
	rec = s.placed(rec) // columns may have moved since it was opened
	g := &gathering{s: s, r: r, k: int(rec.K), wanted: wanted, active: map[int]*way{}, back: make(chan arrived, rec.N)}
	g.units = make([][][]byte, r.end-r.first)
	for i := range g.units {
		g.units[i] = make([][]byte, rec.N)
	}
	g.findWays(rec)
	ctx, cancel := context.WithCancel(ctx)
	g.ctx = ctx
	err := g.run()
	cancel()
	g.wg.Wait()
	for len(g.back) > 0 { // they came too late
		g.s.freeRaw((<-g.back).raw)
	}
	if err == nil {
		err = g.rebuild()
	}
	if err != nil {
		g.release()
		return nil, err
	}
	return g, nil
}

func (g *gathering) release() {
	for _, b := range g.raws {
		g.s.freeRaw(b)
	}
	g.raws = nil
}

// outsideCost puts nodes that are not in the view behind all that are, before
// members that said that they lack theirs.
const outsideCost = time.Hour / 2

// findWays lists where columns may be, the cheapest first. Nodes outside the
// view come late, members that are said to lack theirs last.
func (g *gathering) findWays(rec *catalog.Record) {
	name, self := g.r.name(), g.s.ring.Self()
	members := g.s.ring.Members()
	places := g.s.places.Load()
	count := 0
	for c, id := range rec.Nodes {
		w := &way{node: id, column: c}
		switch {
		case id == self:
			if l, _, _ := g.s.bodies.get(name); l == nil {
				continue
			}
		case !slices.Contains(members, id):
			w.cost = outsideCost
		case places.lacks[id][name]:
			w.cost = time.Hour
		default:
			// Among equals a data column saves decoding.
			w.cost = g.s.speeds.cost(id) + time.Duration(c+1)
		}
		g.ways = append(g.ways, w)
	}
	slices.SortStableFunc(g.ways, func(a, b *way) int { return cmp.Compare(a.cost, b.cost) })
	for _, w := range g.wanted {
		if w {
			count++
		}
	}
	if g.direct = count < g.k; g.direct {
		// The wanted columns first; if one is slow, any k do.
		slices.SortStableFunc(g.ways, func(a, b *way) int { return g.unwanted(a) - g.unwanted(b) })
		for c, w := range g.wanted {
			i := slices.IndexFunc(g.ways, func(x *way) bool { return x.column == c })
			if w && (i < 0 || g.ways[i].cost > lateCost/100) {
				g.direct = false
			}
		}
	}
	if !g.direct {
		slices.SortStableFunc(g.ways, func(a, b *way) int { return cmp.Compare(a.cost, b.cost) })
	}
}

func (g *gathering) unwanted(w *way) int {
	if g.wanted[w.column] {
		return 0
	}
	return 1
}

// run returns when what came is enough.
func (g *gathering) run() error {
	hedge := time.NewTimer(g.s.speeds.hedge(g.r.len()))
	defer hedge.Stop()
	for wait := g.s.speeds.hedge(g.r.len()); ; {
		g.startSome()
		if g.done() {
			return nil
		}
		if len(g.active) == 0 {
			g.errs = append(g.errs, errTooFew)
			return fmt.Errorf("store: blocks %d to %d of %s: %w: %w", g.r.first, g.r.end-1, g.r.body, ErrUnavailable, errors.Join(g.errs...))
		}
		select {
		case a := <-g.back:
			g.take(a)
		case <-hedge.C:
			for _, w := range g.active {
				if !w.late {
					w.late, g.direct = true, false
					g.s.speeds.late(w.node)
					g.s.hedges.Add(1)
				}
			}
			wait *= 2
			hedge.Reset(wait)
		case <-g.ctx.Done():
			return context.Cause(g.ctx)
		}
	}
}

// startSome asks for as many columns as are needed, if those asked all answer.
func (g *gathering) startSome() {
	for len(g.ways) > 0 {
		w := g.ways[0]
		if g.direct {
			if g.unwanted(w) > 0 {
				return
			}
		} else {
			hoped := g.whole
			for _, a := range g.active {
				if !a.late {
					hoped++
				}
			}
			if hoped >= g.k {
				return
			}
		}
		g.ways = g.ways[1:]
		g.active[w.column] = w
		g.wg.Go(func() { g.back <- g.fetch(w) })
	}
}

func (g *gathering) fetch(w *way) arrived {
	a := arrived{w: w, units: make([][]byte, g.r.end-g.r.first), raw: g.s.raw(g.r.len())}
	if w.node == g.s.ring.Self() {
		a.err = g.s.localUnits(g.r, w.column, a.units, a.raw)
		return a
	}
	g.s.speeds.begin(w.node)
	start := time.Now()
	a.err = g.s.fetchUnits(g.ctx, w.node, g.r, w.column, a.units, a.raw)
	took := time.Since(start)
	if a.err != nil {
		took = 0
		if g.ctx.Err() == nil && !refused(a.err) {
			g.s.speeds.late(w.node)
		}
	}
	g.s.speeds.end(w.node, took, int64(len(a.raw)))
	return a
}

func (g *gathering) take(a arrived) {
	delete(g.active, a.w.column)
	if a.err != nil {
		g.s.freeRaw(a.raw)
		g.direct = false
		g.errs = append(g.errs, fmt.Errorf("%s: %w", a.w.node, a.err))
		return
	}
	g.raws = append(g.raws, a.raw)
	bad := 0
	for b, u := range a.units {
		if g.units[b][a.w.column] = u; u == nil {
			bad++
		}
	}
	if bad > 0 {
		g.direct = false
		g.errs = append(g.errs, fmt.Errorf("%s: %d bad units: %w", a.w.node, bad, errDamaged))
		return
	}
	g.whole++
}

// done reports whether each block has its wanted columns, or any k.
func (g *gathering) done() bool {
	for _, units := range g.units {
		have, lost := 0, false
		for c, u := range units {
			if u != nil {
				have++
			} else if g.wanted[c] {
				lost = true
			}
		}
		if lost && have < g.k {
			return false
		}
	}
	return true
}

// rebuild computes the wanted columns that did not come.
func (g *gathering) rebuild() error {
	coder, err := g.s.code(g.r.layout.Geometry)
	if err != nil {
		return err
	}
	for b, units := range g.units {
		n := g.r.layout.UnitLen(g.r.first + int64(b))
		for c := range units {
			// A parity needs all data units: give each lost one its memory.
			if units[c] == nil && (g.wanted[c] || c < g.k && slices.Contains(g.wanted[g.k:], true)) {
				m := g.s.raw(int64(n))
				g.raws = append(g.raws, m)
				units[c] = m[:0]
			}
		}
		if err := coder.Rebuild(units, g.wanted); err != nil {
			return fmt.Errorf("store: block %d of %s: %w", g.r.first+int64(b), g.r.body, err)
		}
	}
	return nil
}
