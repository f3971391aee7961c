// Package reach says who can talk to whom in a laboratory with faults: what the
// cluster has to come to, worked out from the plan alone and in the plainest way.
// It is the dumb twin of rain/ring/topology, for any plan, not only for rings of
// switches.
//
// Limit: 64 nodes; Largest tries all sets that may be one, so few nodes that see
// many different things make it slow.
package reach

import (
	"errors"
	"math/bits"
	"slices"

	"rain/demos/lab/plan"
)

// Faults are the names of dead nodes and switches, and of cables and trunks that
// are cut.
type Faults map[string]bool

// Graph tells of each living node which living ones it can talk to, itself
// included.
type Graph struct {
	Names []string // of all nodes
	near  []uint64 // by node; 0: dead
}

// MaxNodes bounds a plan.
const MaxNodes = 64

// Direct is who shares a piece of the network.
func Direct(p *plan.Plan, dead Faults) (Graph, error) {
	nodes := p.Nodes()
	if len(nodes) > MaxNodes {
		return Graph{}, errors.New("reach: more than 64 nodes")
	}
	parts := pieces(p, dead)
	touch := map[string]uint64{} // nodes by piece
	g := Graph{near: make([]uint64, len(nodes))}
	for i, h := range nodes {
		g.Names = append(g.Names, h.Name)
		if dead[h.Name] {
			continue
		}
		g.near[i] |= 1 << i
		for _, port := range h.Ports {
			if !dead[port.Cable] && !dead[port.Switch] {
				touch[parts[port.Switch]] |= 1 << i
			}
		}
	}
	for _, set := range touch {
		for m := set; m != 0; m &= m - 1 {
			g.near[bits.TrailingZeros64(m)] |= set
		}
	}
	return g, nil
}

// pieces gives each living switch the name of the piece of the network that it is
// in.
func pieces(p *plan.Plan, dead Faults) map[string]string {
	out := map[string]string{}
	for _, s := range p.Switches {
		out[s] = s
	}
	for changed := true; changed; {
		changed = false
		for _, t := range p.Trunks {
			a, b := t[0], t[1]
			if dead[a] || dead[b] || dead[a+"-"+b] || out[a] == out[b] {
				continue
			}
			low := min(out[a], out[b])
			out[a], out[b], changed = low, low, true
		}
	}
	return out
}

// OneRelay is who can talk with at most one other node in between.
func (g Graph) OneRelay() Graph {
	out := Graph{Names: g.Names, near: make([]uint64, len(g.near))}
	for i, set := range g.near {
		for m := set; m != 0; m &= m - 1 {
			out.near[i] |= g.near[bits.TrailingZeros64(m)]
		}
	}
	return out
}

// Near lists whom a node can talk to, itself included; none if it is dead.
func (g Graph) Near(name string) (out []string) {
	i := slices.Index(g.Names, name)
	if i < 0 {
		return nil
	}
	for m := g.near[i]; m != 0; m &= m - 1 {
		out = append(out, g.Names[bits.TrailingZeros64(m)])
	}
	return out
}

// All reports whether these nodes all live and can all talk to each other.
func (g Graph) All(names []string) bool {
	var set uint64
	for _, n := range names {
		i := slices.Index(g.Names, n)
		if i < 0 {
			return false
		}
		set |= 1 << i
	}
	for m := set; m != 0; m &= m - 1 {
		if set&^g.near[bits.TrailingZeros64(m)] != 0 {
			return false
		}
	}
	return true
}

// Largest is the size of the largest set of nodes that can all talk to each other.
func (g Graph) Largest() int {
	living := uint64(0)
	for i, set := range g.near {
		if set != 0 {
			living |= 1 << i
		}
	}
	return g.largest(living, 0, 0)
}

func (g Graph) largest(may uint64, size, best int) int {
	for may != 0 && size+bits.OnesCount64(may) > best {
		i := bits.TrailingZeros64(may)
		may &^= 1 << i
		best = g.largest(may&g.near[i], size+1, best)
	}
	return max(best, size)
}
