package topology

import "fmt"

// Part is what a fault can hit.
type Part uint8

// The parts of a net.
const (
	Switch   Part = iota // switch A
	Node                 // node A
	RingLink             // between switch A and the next one, B
	NodeLink             // between node A and switch B
)

// Element is one thing that can fail. A and B count from 0.
type Element struct {
	Part Part
	A, B int
	port int // of a NodeLink: its place among those of the node
}

// String names the element as the laboratory does. Names count from 1: s1 is the
// first switch, n1 the first node, n1-s2 a link.
func (e Element) String() string {
	switch e.Part {
	case Switch:
		return fmt.Sprintf("s%d", e.A+1)
	case Node:
		return fmt.Sprintf("n%d", e.A+1)
	case RingLink:
		return fmt.Sprintf("s%d-s%d", e.A+1, e.B+1)
	default:
		return fmt.Sprintf("n%d-s%d", e.A+1, e.B+1)
	}
}

// Elements lists what can fail, of all parts or only those given, by place on
// the ring: first all that belongs to switch 0 and its nodes.
func (n *Net) Elements(only ...Part) []Element {
	want := func(p Part) bool {
		for _, o := range only {
			if o == p {
				return true
			}
		}
		return len(only) == 0
	}
	var out []Element
	for s := range n.Switches {
		if want(Switch) {
			out = append(out, Element{Part: Switch, A: s})
		}
		if want(RingLink) && n.Switches > 1 && (n.Switches > 2 || s == 0) {
			out = append(out, Element{Part: RingLink, A: s, B: (s + 1) % n.Switches})
		}
		for i := s; i < len(n.Links); i += n.Switches {
			if want(Node) {
				out = append(out, Element{Part: Node, A: i})
			}
			for port, to := range n.Links[i] {
				if want(NodeLink) {
					out = append(out, Element{Part: NodeLink, A: i, B: to, port: port})
				}
			}
		}
	}
	return out
}
