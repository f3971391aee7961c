package reach

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"rain/demos/lab/plan"
	"rain/ring/topology"
)

func load(t *testing.T, name string) *plan.Plan {
	t.Helper()
	b, err := os.ReadFile("../" + name + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAsymmetricNet(t *testing.T) {
	p := load(t, "asym")
	g, err := Direct(p, Faults{"s1-s2": true})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(g.Near("n1"), g.Near("n2"), g.Near("n3")); got != "[n1 n3] [n2 n3] [n1 n2 n3]" {
		t.Errorf("direct %s", got)
	}
	if g.Largest() != 2 || g.All([]string{"n1", "n2", "n3"}) || !g.All([]string{"n2", "n3"}) {
		t.Error("1 and 2 do not hear each other")
	}
	if r := g.OneRelay(); r.Largest() != 3 || !r.All([]string{"n1", "n2", "n3"}) {
		t.Error("3 is a relay for 1 and 2")
	}
	g, err = Direct(p, Faults{"s1-s2": true, "n3": true})
	if err != nil {
		t.Fatal(err)
	}
	if r := g.OneRelay(); r.Largest() != 1 || r.Near("n3") != nil || r.All([]string{"n3"}) {
		t.Error("a dead node is no relay")
	}
}

// The twin agrees with rain/ring/topology on random sets of faults.
func TestSameAsTopology(t *testing.T) {
	p := load(t, "caltech")
	net, err := topology.New(topology.Diameter, 10, 4, 2, 8, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := net.Elements()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var set []topology.Element
		faults := Faults{}
		for range rng.IntN(9) {
			if e := all[rng.IntN(len(all))]; !slices.Contains(set, e) {
				set = append(set, e)
				faults[e.String()] = true
			}
		}
		direct, err := Direct(p, faults)
		if err != nil {
			t.Fatal(err)
		}
		for model, g := range map[topology.Model]Graph{topology.Direct: direct, topology.OneRelay: direct.OneRelay()} {
			loss, err := net.Loss(model, set)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(g.Names) - g.Largest(); got != loss {
				t.Fatalf("%v, %s: loss %d, topology says %d", set, model, got, loss)
			}
		}
	}
}
