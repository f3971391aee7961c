package topology

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func make1(t testing.TB, kind Kind, n, degree, offset int) *Net {
	t.Helper()
	net, err := New(kind, n, n, degree, 0, offset)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// TestTable is what the literature says of these nets, found anew by trying
// every set of faults.
func TestTable(t *testing.T) {
	switches := []Part{Switch}
	for _, c := range []struct {
		kind      Kind
		n, offset int
		model     Model
		faults    int
		only      []Part
		want      int
	}{
		{Diameter, 8, 0, Direct, 2, nil, 2},
		{Diameter, 8, 0, Direct, 3, nil, 4},
		{Diameter, 8, 0, Relay, 3, nil, 3},
		{Diameter, 8, 0, Relay, 4, switches, 6},
		{Diameter, 12, 0, Direct, 2, nil, 2},
		{Diameter, 12, 0, Direct, 3, nil, 6},
		{Diameter, 12, 0, Relay, 3, nil, 3},
		{Diameter, 12, 0, Relay, 4, nil, 6},
		{Diameter, 12, 0, Relay, 5, switches, 6},
		{Diameter, 16, 0, Direct, 3, nil, 6},
		{Diameter, 16, 0, Direct, 4, switches, 10},
		{Diameter, 16, 0, Relay, 3, nil, 3},
		{Diameter, 16, 0, Relay, 4, nil, 8},
		{Diameter, 20, 0, Direct, 3, nil, 6},
		{Diameter, 20, 0, Direct, 4, switches, 12},
		{Diameter, 20, 0, Relay, 3, nil, 3},
		{Diameter, 20, 0, Relay, 4, nil, 10},
		{Diameter, 24, 0, Direct, 4, switches, 14},
		{Diameter, 24, 0, Relay, 4, switches, 12},
		{Naive, 12, 0, Relay, 3, nil, 8},
		{Naive, 20, 0, Relay, 3, nil, 13},
		{Naive, 12, 0, Relay, 2, switches, 6},
		{Chord, 16, 6, Relay, 3, nil, 3},
		{Chord, 16, 6, Relay, 4, nil, 4},
		{Chord, 16, 5, Relay, 4, nil, 4},
		{Chord, 20, 5, Relay, 4, switches, 4},
		{Chord, 16, 6, Relay, 5, nil, 5},
	} {
		name := fmt.Sprintf("%s-%d-%d/%s-%d", c.kind, c.n, c.offset, c.model, c.faults)
		t.Run(name, func(t *testing.T) {
			net := make1(t, c.kind, c.n, 2, c.offset)
			got, err := net.Worst(t.Context(), c.model, c.faults, c.only...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Loss != c.want {
				t.Errorf("worst loss %d by %v, want %d", got.Loss, got.Faults, c.want)
			}
			if again, err := net.Loss(c.model, got.Faults); err != nil || again != got.Loss {
				t.Errorf("the set %v that was named costs %d (%v), not %d", got.Faults, again, err, got.Loss)
			}
		})
	}
}

// TestOneRelayIsBetween: a relay more never costs a node, and turning the ring
// changes nothing, on any small net with any faults.
func TestOneRelayIsBetween(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		switches := rapid.IntRange(2, 9).Draw(t, "switches")
		nodes := rapid.IntRange(1, 14).Draw(t, "nodes")
		degree := rapid.IntRange(1, 2).Draw(t, "degree")
		kind := rapid.SampledFrom([]Kind{Naive, Diameter, Chord}).Draw(t, "kind")
		net, err := New(kind, nodes, switches, degree, 0, 0)
		if err != nil {
			t.Skip(err)
		}
		all := net.Elements()
		var faults []Element
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 0, min(5, len(all)), rapid.ID[int]).Draw(t, "faults") {
			faults = append(faults, all[i])
		}
		var loss [3]int
		for i, m := range []Model{Relay, OneRelay, Direct} {
			if loss[i], err = net.Loss(m, faults); err != nil {
				t.Fatal(err)
			}
			if want := nodes - slowUsable(net, m, faults); loss[i] != want {
				t.Fatalf("%s %v: loss %d, by the slow way %d", m, faults, loss[i], want)
			}
		}
		if loss[0] > loss[1] || loss[1] > loss[2] {
			t.Fatalf("relay %d, one relay %d, direct %d", loss[0], loss[1], loss[2])
		}
	})
}

// slowUsable computes the same from the definition: a graph of switches and
// nodes, and every subset of the nodes.
func slowUsable(n *Net, m Model, faults []Element) int {
	dead := map[string]bool{}
	for _, e := range faults {
		dead[e.String()] = true
	}
	s, total := n.Switches, n.Switches+len(n.Links)
	adj := make([][]bool, total)
	for i := range adj {
		adj[i] = make([]bool, total)
	}
	name := func(i int) string {
		if i < s {
			return Element{Part: Switch, A: i}.String()
		}
		return Element{Part: Node, A: i - s}.String()
	}
	for _, e := range n.Elements(RingLink, NodeLink) {
		a, b := e.A, e.B
		if e.Part == NodeLink {
			a += s
		}
		if !dead[e.String()] && !dead[name(a)] && !dead[name(b)] {
			adj[a][b], adj[b][a] = true, true
		}
	}
	// walk goes over switches only, or over nodes as well.
	walk := func(from int, over bool) []bool {
		seen := make([]bool, total)
		seen[from] = true
		for todo := []int{from}; len(todo) > 0; {
			x := todo[0]
			todo = todo[1:]
			if x >= s && x != from && !over {
				continue
			}
			for y := range total {
				if adj[x][y] && !seen[y] {
					seen[y] = true
					todo = append(todo, y)
				}
			}
		}
		return seen
	}
	talk := make([][]bool, len(n.Links))
	for i := range talk {
		talk[i] = walk(i+s, m == Relay)[s:]
		if dead[name(i+s)] {
			talk[i] = make([]bool, len(talk))
		}
	}
	if m == OneRelay {
		direct := talk
		talk = make([][]bool, len(direct))
		for i := range talk {
			talk[i] = make([]bool, len(direct))
			for k := range direct {
				for j := range direct {
					talk[i][j] = talk[i][j] || direct[i][j] || direct[i][k] && direct[k][j]
				}
			}
		}
	}
	best := 0
	for set := range 1 << len(talk) {
		size, ok := 0, true
		for i := 0; i < len(talk) && ok; i++ {
			if set>>i&1 == 0 {
				continue
			}
			size++
			for j := range talk {
				ok = ok && (set>>j&1 == 0 || talk[i][j])
			}
		}
		if ok {
			best = max(best, size)
		}
	}
	return best
}

func TestRefusals(t *testing.T) {
	for name, f := range map[string]func() error{
		"no switches": func() error { _, err := New(Naive, 4, 0, 1, 0, 0); return err },
		"more links":  func() error { _, err := New(Naive, 4, 2, 3, 0, 0); return err },
		"ports":       func() error { _, err := New(Diameter, 40, 4, 2, 8, 0); return err },
		"kind":        func() error { _, err := New("best", 4, 4, 2, 0, 0); return err },
		"offset":      func() error { _, err := New(Naive, 4, 4, 2, 0, 1); return err },
		"same switch": func() error { _, err := New(Chord, 8, 8, 3, 0, 4); return err },
		"too many": func() error {
			_, err := make1(t, Diameter, 100, 2, 0).Worst(t.Context(), Direct, 7)
			return err
		},
		"no element": func() error {
			_, err := make1(t, Diameter, 8, 2, 0).Loss(Direct, []Element{{Part: Switch, A: 8}})
			return err
		},
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Diameter, 10, 4, 2, 8, 0); err != nil {
		t.Errorf("ten nodes on four 8-way switches: %v", err)
	}
}

func TestSVGShowsTheFaults(t *testing.T) {
	net := make1(t, Diameter, 8, 2, 0)
	faults := []Element{{Part: Switch, A: 2}, {Part: RingLink, A: 5, B: 6}}
	svg, err := net.SVG(Relay, faults)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Title string     `xml:"title"`
		Lines []struct{} `xml:"line"`
		Nodes []struct{} `xml:"circle"`
		Rects []struct {
			Fill string `xml:"fill,attr"`
		} `xml:"rect"`
	}
	if err := xml.Unmarshal([]byte(svg), &doc); err != nil {
		t.Fatal(err)
	}
	red := 0
	for _, r := range doc.Rects {
		if r.Fill == "#b3261e" {
			red++
		}
	}
	if len(doc.Nodes) != 8 || len(doc.Lines) != 8+16 || red != 1 || strings.Count(svg, "stroke-dasharray") != 1 {
		t.Fatalf("%d nodes, %d lines, %d dead switches in %s", len(doc.Nodes), len(doc.Lines), red, svg)
	}
	if _, err := net.SVG(Relay, []Element{{Part: Node, A: 9}}); err == nil {
		t.Fatal("a fault of nothing was drawn")
	}
}
