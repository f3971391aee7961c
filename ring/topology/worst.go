package topology

import (
	"context"
	"fmt"
	"math/big"
	"runtime"
	"sync"
)

// Result is the worst that some number of faults can do.
type Result struct {
	Loss   int       // nodes
	Faults []Element // a set that does it: the first of them in the order of Elements
	Sets   int64     // of faults that were looked at; turns of the ring count once
}

// Worst tries every set of exactly f faults among the parts given, or all. It
// uses all cores and can be ended by ctx. More faults never cost less, so it
// also tells what up to f can do.
func (n *Net) Worst(ctx context.Context, m Model, f int, only ...Part) (Result, error) {
	if _, err := n.Loss(m, nil); err != nil {
		return Result{}, err
	}
	elements := n.Elements(only...)
	if err := n.fits(f); err != nil {
		return Result{}, err
	}
	if f < 0 || f > len(elements) {
		return Result{}, fmt.Errorf("topology: %d faults: there are %d things that can fail", f, len(elements))
	}
	if f == 0 {
		loss, err := n.Loss(m, nil)
		return Result{Loss: loss, Sets: 1}, err
	}
	// Each set has a turn that hits what belongs to switch 0.
	firsts := len(elements) - f + 1
	if n.symmetric() {
		firsts = min(firsts, len(elements)/n.Switches)
	}
	all := new(big.Int).Binomial(int64(len(elements)), int64(f))
	all.Sub(all, new(big.Int).Binomial(int64(len(elements)-firsts), int64(f)))
	if !all.IsInt64() || all.Int64() > MaxSets {
		return Result{}, fmt.Errorf("topology: %v sets of %d faults: more than %d; ask for fewer faults, fewer nodes or only some parts", all, f, int64(MaxSets))
	}
	return n.search(ctx, m, f, firsts, elements)
}

// search hands the sets out by their two first faults.
func (n *Net) search(ctx context.Context, m Model, f, firsts int, elements []Element) (Result, error) {
	type job struct{ first, second int }
	jobs := make(chan job)
	results := make([]Result, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range results {
		wg.Go(func() {
			s := searcher{st: newState(n, m), elements: elements, f: f, nodes: len(n.Links), best: Result{Loss: -1}}
			for j := range jobs {
				s.from(j.first, j.second)
			}
			results[w] = s.best
		})
	}
	err := func() error {
		defer close(jobs)
		for a := range firsts {
			for b := a + 1; b < len(elements) || f == 1 && b == a+1; b++ {
				select {
				case jobs <- job{a, b}:
				case <-ctx.Done():
					return fmt.Errorf("topology: %w", ctx.Err())
				}
			}
		}
		return nil
	}()
	wg.Wait()
	best := Result{Loss: -1}
	for _, r := range results {
		sets := best.Sets + r.Sets
		if r.Loss > best.Loss || r.Loss == best.Loss && before(elements, r.Faults, best.Faults) {
			best = r
		}
		best.Sets = sets
	}
	return best, err
}

// before orders sets of faults, so that the result does not hang on the workers.
func before(elements, a, b []Element) bool {
	place := make(map[Element]int, len(elements))
	for i, e := range elements {
		place[e] = i
	}
	for i := range a {
		if a[i] != b[i] {
			return place[a[i]] < place[b[i]]
		}
	}
	return false
}

type searcher struct {
	st       *state
	elements []Element
	f, nodes int
	chosen   []int
	best     Result
}

func (s *searcher) from(first, second int) {
	s.push(first)
	if s.f == 1 {
		s.look()
	} else {
		s.push(second)
		s.rest(second + 1)
		s.pop()
	}
	s.pop()
}

func (s *searcher) rest(next int) {
	if len(s.chosen) == s.f {
		s.look()
		return
	}
	for i := next; i <= len(s.elements)-(s.f-len(s.chosen)); i++ {
		s.push(i)
		s.rest(i + 1)
		s.pop()
	}
}

func (s *searcher) push(i int) {
	s.chosen = append(s.chosen, i)
	s.st.set(s.elements[i], true)
}

func (s *searcher) pop() {
	last := len(s.chosen) - 1
	s.st.set(s.elements[s.chosen[last]], false)
	s.chosen = s.chosen[:last]
}

func (s *searcher) look() {
	s.best.Sets++
	loss := s.nodes - s.st.usable()
	if loss <= s.best.Loss {
		return // jobs come in order, so what was found first is the first
	}
	s.best.Loss = loss
	s.best.Faults = s.best.Faults[:0]
	for _, i := range s.chosen {
		s.best.Faults = append(s.best.Faults, s.elements[i])
	}
}
