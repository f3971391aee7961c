package topology

import (
	"fmt"
	"math"
)

// Bounds of what a run may ask for.
const (
	MaxSwitches = 256
	MaxNodes    = 1024
	MaxDegree   = 8
	MaxFaults   = 12
	MaxSets     = 2_000_000_000
)

// Kind names a construction.
type Kind string

// The kinds.
const (
	Naive    Kind = "naive"
	Diameter Kind = "diameter"
	Chord    Kind = "chord"
)

// Net is nodes on a ring of switches. Node i has a link to each switch of
// Links[i]. Switch s is joined to switch s+1, the last one to the first.
type Net struct {
	Kind     Kind
	Switches int
	Offset   int // of a Chord; else 0
	Links    [][]int
}

// New makes a net. degree is the links of a node; ports the most that a switch
// has, 0 for no bound. offset is for Chord alone; 0 picks one near the square
// root of the number of switches.
func New(kind Kind, nodes, switches, degree, ports, offset int) (*Net, error) {
	switch {
	case switches < 1 || switches > MaxSwitches:
		return nil, fmt.Errorf("topology: %d switches: must be 1 to %d", switches, MaxSwitches)
	case nodes < 1 || nodes > MaxNodes:
		return nil, fmt.Errorf("topology: %d nodes: must be 1 to %d", nodes, MaxNodes)
	case degree < 1 || degree > MaxDegree || degree > switches:
		return nil, fmt.Errorf("topology: %d links a node: must be 1 to %d and no more than the %d switches", degree, MaxDegree, switches)
	case kind != Chord && offset != 0:
		return nil, fmt.Errorf("topology: an offset of %d: only a chord has one", offset)
	case offset < 0 || offset >= max(switches, 2):
		return nil, fmt.Errorf("topology: an offset of %d: must be 1 to %d", offset, switches-1)
	}
	n := &Net{Kind: kind, Switches: switches, Links: make([][]int, nodes)}
	offsets, err := n.offsets(degree, offset)
	if err != nil {
		return nil, err
	}
	used := make([]int, switches)
	for i := range n.Links {
		for _, o := range offsets {
			s := (i + o) % switches
			n.Links[i] = append(n.Links[i], s)
			used[s]++
		}
	}
	for s, u := range used {
		if need := u + n.ringPorts(); ports > 0 && need > ports {
			return nil, fmt.Errorf("topology: switch %d would need %d ports, it has %d: take more switches or larger ones", s, need, ports)
		}
	}
	return n, nil
}

func (n *Net) ringPorts() int { return min(n.Switches-1, 2) }

// offsets are the switches of node 0. They are distinct.
func (n *Net) offsets(degree, offset int) ([]int, error) {
	s := n.Switches
	out := make([]int, degree)
	switch n.Kind {
	case Naive:
		for j := range out {
			out[j] = j
		}
	case Diameter:
		for j := range out {
			out[j] = j * s / degree
			if j > 0 && 2*j >= degree && s > 2 {
				out[j]++ // else nodes on opposite sides would share their switches
			}
			out[j] %= s
		}
	case Chord:
		if offset == 0 {
			offset = root(s)
		}
		n.Offset = offset
		for j := range out {
			out[j] = j * offset % s
		}
	default:
		return nil, fmt.Errorf("topology: no kind %q; there are %s, %s and %s", n.Kind, Naive, Diameter, Chord)
	}
	seen := map[int]bool{}
	for _, o := range out {
		if seen[o] {
			return nil, fmt.Errorf("topology: %s on %d switches would put two links of a node on one switch: take fewer links or another offset", n.Kind, s)
		}
		seen[o] = true
	}
	return out, nil
}

// root picks the chord: near the square root, but two steps from the diameter,
// whose rotation by half is what falls apart.
func root(s int) int {
	o := int(math.Round(math.Sqrt(float64(s))))
	if s >= 9 && s%o == 0 {
		o++ // a divisor makes short cycles of chords
	}
	return max(1, min(o, s-1))
}

// symmetric says whether turning the ring by one switch gives the same net.
func (n *Net) symmetric() bool { return n.Switches > 2 && len(n.Links)%n.Switches == 0 }
