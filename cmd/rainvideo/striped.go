package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/client"
	"rain/snow/admin"
	"rain/store/array"
	"rain/store/symbol"
)

// striped reads a striped object as its nodes do: symbols of each block from any
// k nodes, each unit held to its checksum, and decoded here. No node has to put
// anything together; it only reads its own disk.
type striped struct {
	c      *client.Client
	object string
	layout array.Layout
	code   array.Code
	nodes  columns

	mu   sync.Mutex
	plan admin.PlanAnswer
}

// newStriped plans the read; nil without error: the object is small and whole.
func newStriped(ctx context.Context, c *client.Client, v admin.Video) (*striped, error) {
	p, err := c.Plan(ctx, v.Object)
	if err != nil {
		return nil, err
	}
	if len(p.Columns) == 0 {
		return nil, nil
	}
	s := &striped{c: c, object: v.Object, plan: p}
	s.layout = array.Layout{Geometry: array.Geometry{N: p.N, K: p.K, Unit: p.Unit}, Size: p.Size}
	if err := errors.Join(s.layout.Check(), sane(p)); err != nil {
		return nil, fmt.Errorf("rainvideo: the plan of %s: %w", v.Object, err)
	}
	if p.SHA256 != v.SHA256 {
		return nil, replaced(v.Name)
	}
	s.code, err = array.New(p.N, p.K)
	return s, err
}

func sane(p admin.PlanAnswer) error {
	if p.Size < 1 || p.Size > 1<<50 || len(p.Columns) != p.N || p.Body == "" {
		return fmt.Errorf("%d columns of a code (%d,%d) for %d bytes make no sense", len(p.Columns), p.N, p.K, p.Size)
	}
	for i, c := range p.Columns {
		if c.Column != i {
			return fmt.Errorf("column %d comes in place of column %d", c.Column, i)
		}
	}
	return nil
}

func replaced(name string) error {
	return cli.New(cli.Failed, "replaced", "play it again", "rainvideo: %s was replaced meanwhile", name)
}

// parts and size: a part is a window of blocks, about a MiB.
func (s *striped) parts() int64 { return s.layout.Windows() }

// fetch gets window w; it goes on while k nodes may come back.
func (s *striped) fetch(ctx context.Context, w int64) part {
	for until := time.Now().Add(giveUp); ; {
		p := s.window(ctx, w)
		if p.err == nil || ctx.Err() != nil || time.Now().After(until) {
			return p
		}
		if err := s.replan(ctx); err != nil {
			p.err = err
			return p
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// replan asks whether the columns lie elsewhere now; no answer changes nothing.
func (s *striped) replan(ctx context.Context) error {
	p, err := s.c.Plan(ctx, s.object)
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == 404 {
		return replaced(s.object)
	}
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.SHA256 != s.plan.SHA256 || p.N != s.plan.N || p.K != s.plan.K || p.Unit != s.plan.Unit || sane(p) != nil {
		return replaced(s.object)
	}
	s.plan = p
	return nil
}

// answer is what one column said.
type answer struct {
	column int
	units  [][]byte // by block; a bad one is nil
	good   int
	err    error
}

// window asks k columns, a further one for each that fails, has bad units, or is
// late.
func (s *striped) window(ctx context.Context, w int64) part {
	s.mu.Lock()
	plan := s.plan
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	l := s.layout
	first, end := l.Window(w)
	out := part{off: first * l.Block(), block: first, blocks: end - first}
	answers := make(chan answer, l.N)
	open := map[int]bool{}
	order := s.nodes.order(time.Now(), w, l.N, l.K)
	ask := func() {
		if len(order) > 0 {
			column := order[0]
			order, open[column] = order[1:], true
			wg.Go(func() { answers <- s.ask(ctx, plan, column, first, end) })
		}
	}
	for range l.K {
		ask()
	}
	hedge := s.nodes.hedge()
	late := time.NewTimer(hedge)
	defer late.Stop()
	g := gathered{layout: l, units: make([][][]byte, end-first)}
	var errs []error
	for len(open) > 0 {
		select {
		case a := <-answers:
			delete(open, a.column)
			if a.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", plan.Columns[a.column].Node, a.err))
			} else {
				out.from = append(out.from, origin{plan.Columns[a.column].Node, a.column})
				g.add(a)
			}
			if g.enough() {
				out.body, out.err = g.join(s.code, first)
				return out
			}
			if a.err != nil || a.good < len(a.units) {
				s.nodes.failed(time.Now(), a.column)
				ask()
			}
		case <-late.C:
			for column := range open {
				s.nodes.failed(time.Now(), column)
			}
			ask()
			late.Reset(hedge)
		}
	}
	out.err = tooFew(first, end, l.K, len(out.from), errs)
	return out
}

func tooFew(first, end int64, k, have int, errs []error) error {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return cli.New(cli.Unavailable, "too_few_nodes", "bring nodes back", "rainvideo: blocks %d to %d need good symbols of %d nodes, %d came: %s", first, end-1, k, have, strings.Join(texts, "; "))
}

// ask reads one column's units of the blocks [first, end) and checks them.
func (s *striped) ask(ctx context.Context, plan admin.PlanAnswer, column int, first, end int64) answer {
	a := answer{column: column, units: make([][]byte, end-first)}
	at, l := plan.Columns[column].Admin, s.layout
	if at == "" {
		a.err = errors.New("its admin address is not known")
		return a
	}
	raw := make([]byte, symbol.RangeLen(l, first, end))
	begun := time.Now()
	if a.err = s.c.ReadSymbols(ctx, at, plan.Body, int(first/l.PartBlocks()), column, symbol.Offset(l, first), raw, patience); a.err != nil {
		return a
	}
	a.good = symbol.Units(a.units, raw, l, column, first)
	if a.good > 0 {
		s.nodes.came(column, time.Since(begun))
	} else {
		a.err = fmt.Errorf("no unit of column %d has the right checksum: %w", column, symbol.ErrDamaged)
	}
	return a
}

// gathered are the units of some blocks as they come.
type gathered struct {
	layout array.Layout
	units  [][][]byte // by block and column
}

func (g *gathered) add(a answer) {
	for i, u := range a.units {
		if g.units[i] == nil {
			g.units[i] = make([][]byte, g.layout.N)
		}
		g.units[i][a.column] = u
	}
}

// enough reports whether each block has k units.
func (g *gathered) enough() bool {
	for _, units := range g.units {
		n := 0
		for _, u := range units {
			if u != nil {
				n++
			}
		}
		if n < g.layout.K {
			return false
		}
	}
	return true
}

// join decodes the blocks from first on.
func (g *gathered) join(code array.Code, first int64) ([]byte, error) {
	l := g.layout
	wanted := make([]bool, l.N)
	for c := range l.K {
		wanted[c] = true
	}
	var out []byte
	for i, units := range g.units {
		block := first + int64(i)
		if err := code.Rebuild(units, wanted); err != nil {
			return nil, fmt.Errorf("rainvideo: block %d: %w", block, err)
		}
		for c, left := 0, l.BlockLen(block); c < l.K && left > 0; c++ {
			n := min(left, len(units[c]))
			out, left = append(out, units[c][:n]...), left-n
		}
	}
	return out, nil
}
