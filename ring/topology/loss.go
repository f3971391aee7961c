package topology

import (
	"fmt"
	"math/bits"
)

// Model says who can talk to whom.
type Model string

// The models.
const (
	Direct   Model = "direct"
	OneRelay Model = "one-relay"
	Relay    Model = "relay"
)

// state is one net with some faults. It is made once a worker and used for many
// sets of faults.
type state struct {
	net   *Net
	model Model

	deadSwitch []bool
	deadLink   []bool // ring link s to s+1
	deadNode   []bool
	deadPort   [][]bool
	comp       []int8 // component of a switch, -1 if dead

	types  []uint32 // distinct sets of components that living nodes touch
	weight []int    // how many nodes are of that type
	index  map[uint32]int
	friend []uint64 // types that a type can talk to
}

func newState(n *Net, m Model) *state {
	st := &state{net: n, model: m,
		deadSwitch: make([]bool, n.Switches), deadLink: make([]bool, n.Switches), deadNode: make([]bool, len(n.Links)),
		deadPort: make([][]bool, len(n.Links)), comp: make([]int8, n.Switches), index: map[uint32]int{},
	}
	for i, l := range n.Links {
		st.deadPort[i] = make([]bool, len(l))
	}
	return st
}

func (st *state) set(e Element, dead bool) {
	switch e.Part {
	case Switch:
		st.deadSwitch[e.A] = dead
	case Node:
		st.deadNode[e.A] = dead
	case RingLink:
		st.deadLink[e.A] = dead
	case NodeLink:
		st.deadPort[e.A][e.port] = dead
	}
}

// components numbers the arcs of living switches.
func (st *state) components() {
	s := st.net.Switches
	next := int8(-1)
	joined := func(i int) bool { // switch i with the one before it
		p := (i + s - 1) % s
		return s > 1 && !st.deadSwitch[p] && !st.deadLink[p]
	}
	for i := range s {
		switch {
		case st.deadSwitch[i]:
			st.comp[i] = -1
			continue
		case i == 0 || !joined(i):
			next++
		}
		st.comp[i] = next
	}
	if s < 3 || st.deadSwitch[0] || !joined(0) || st.comp[s-1] == 0 {
		return
	}
	last := st.comp[s-1] // the ring closes: the last arc is the first one's
	for i := s - 1; i > 0 && st.comp[i] == last; i-- {
		st.comp[i] = 0
	}
}

// gather sorts the living nodes by the components that they touch.
func (st *state) gather() (alone int) {
	st.types, st.weight = st.types[:0], st.weight[:0]
	clear(st.index)
	for i, links := range st.net.Links {
		if st.deadNode[i] {
			continue
		}
		var t uint32
		for port, s := range links {
			if c := st.comp[s]; c >= 0 && !st.deadPort[i][port] {
				t |= 1 << c
			}
		}
		if t == 0 {
			alone = 1
			continue
		}
		at, ok := st.index[t]
		if !ok {
			at = len(st.types)
			st.index[t] = at
			st.types, st.weight = append(st.types, t), append(st.weight, 0)
		}
		st.weight[at]++
	}
	return alone
}

// usable is the size of the largest set of nodes that can all talk.
func (st *state) usable() int {
	st.components()
	alone := st.gather()
	if st.model == Relay {
		return max(alone, st.connected())
	}
	st.friends()
	all := ^uint64(0) >> (64 - len(st.types)) // none: a shift by 64 leaves nothing
	return max(alone, st.clique(all, 0, 0))
}

// connected joins components through the nodes that touch several.
func (st *state) connected() int {
	best := 0
	done := uint64(0)
	for i := range st.types {
		if done>>i&1 == 1 {
			continue
		}
		reach, size, grown := uint32(0), 0, st.types[i]
		for grown != reach {
			reach = grown
			for _, t := range st.types {
				if t&reach != 0 {
					grown |= t
				}
			}
		}
		for j, t := range st.types {
			if t&reach != 0 {
				done |= 1 << j
				size += st.weight[j]
			}
		}
		best = max(best, size)
	}
	return best
}

func (st *state) friends() {
	st.friend = st.friend[:0]
	for _, t := range st.types {
		reach := t
		if st.model == OneRelay {
			for _, via := range st.types {
				if via&t != 0 {
					reach |= via
				}
			}
		}
		var f uint64
		for j, u := range st.types {
			if u&reach != 0 {
				f |= 1 << j
			}
		}
		st.friend = append(st.friend, f)
	}
}

// clique returns the heaviest set of types, all friends, that can be made of
// may; size is the weight of those chosen, best what was found before.
func (st *state) clique(may uint64, size, best int) int {
	rest := 0
	for m := may; m != 0; m &= m - 1 {
		rest += st.weight[bits.TrailingZeros64(m)]
	}
	for may != 0 && size+rest > best {
		i := bits.TrailingZeros64(may)
		may &^= 1 << i
		best = st.clique(may&st.friend[i], size+st.weight[i], best)
		rest -= st.weight[i]
	}
	return max(best, size)
}

// Loss returns how many nodes the faults cost.
func (n *Net) Loss(m Model, faults []Element) (int, error) {
	if err := n.fits(len(faults)); err != nil {
		return 0, err
	}
	if m != Direct && m != OneRelay && m != Relay {
		return 0, fmt.Errorf("topology: no model %q; there are %s, %s and %s", m, Direct, OneRelay, Relay)
	}
	st := newState(n, m)
	for _, e := range faults {
		if err := n.has(e); err != nil {
			return 0, err
		}
		st.set(e, true)
	}
	return len(n.Links) - st.usable(), nil
}

// fits refuses what could not be told apart in the words that state uses: f
// faults leave at most max(f, 1) components, and a node touches some of them.
func (n *Net) fits(f int) error {
	if f > MaxFaults {
		return fmt.Errorf("topology: %d faults: at most %d", f, MaxFaults)
	}
	parts := min(max(f, 1), n.Switches)
	types, ways := 0, 1
	for j := 1; j <= min(len(n.Links[0]), parts); j++ {
		ways = ways * (parts - j + 1) / j
		types += ways
	}
	if most := 64; min(types, len(n.Links)) > most {
		return fmt.Errorf("topology: %d faults with %d links a node: too many cases to tell apart (%d, at most %d)", f, len(n.Links[0]), min(types, len(n.Links)), most)
	}
	return nil
}

func (n *Net) has(e Element) error {
	for _, x := range n.Elements(e.Part) {
		if x == e {
			return nil
		}
	}
	return fmt.Errorf("topology: the net has no %v", e)
}
