package labtest

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rain/ring/topology"
)

var (
	flagSets   = flag.Int("sets", 20, "random sets of faults")
	flagFaults = flag.Int("faults", 1, "how many faults a set has at most")
	flagSeed   = flag.Uint64("seed", 1, "of the choice of faults")
)

// same fails if anyone has seen another view since.
func (l *lab) same(what string, number uint64) {
	l.t.Helper()
	vs := l.views(l.nodes)
	for _, n := range l.nodes {
		if v, ok := vs[n]; !ok || v.number != number {
			l.t.Errorf("%s: %s is in view %+v (primary %v), want %d still", what, n, v, ok, number)
		}
	}
}

// TestAsymmetric: 1 and 2 do not hear each other, or only one way; both hear 3.
// Nobody leaves the view.
func TestAsymmetric(t *testing.T) {
	l := up(t, "../asym.toml", withVIPs(0))
	number := l.views(l.nodes)["n3"].number
	for _, c := range [][]string{{"cut", "s1-s2"}, {"cut", "s1-s2", "--one-way"}, {"cut", "s2-s1", "--one-way"}} {
		l.do(c...)
		l.links("n1", "n2", 0)
		l.links("n2", "n1", 0)
		time.Sleep(time.Second)
		l.same(strings.Join(c, " "), number)
		l.do("heal")
		l.links("n1", "n2", 1)
		l.links("n2", "n1", 1)
		l.same("healed", number)
	}
}

// TestLinkOfTwo: each node loses one of its two links, then a switch dies. The
// view stays.
func TestLinkOfTwo(t *testing.T) {
	l := up(t, "../small.toml", withVIPs(0))
	number := l.views(l.nodes)["n1"].number
	for _, c := range []string{"n1-s1", "n2-s2"} {
		l.do("cut", c)
		l.links(c[:2], "n3", 2)
		l.same("cut "+c, number)
		l.do("heal", c)
		l.links(c[:2], "n3", 4)
	}
	l.do("crash", "s1")
	l.links("n1", "n2", 1)
	l.same("switch s1 dead", number)
	l.do("heal")
	l.links("n1", "n2", 4)
	l.same("healed", number)
}

// TestBadWeather: 5 % loss, 2 % doubled, some late, on every cable.
func TestBadWeather(t *testing.T) {
	l := up(t, "../small.toml", withVIPs(0))
	number := l.views(l.nodes)["n1"].number
	for _, n := range l.nodes {
		for _, s := range []string{"s1", "s2"} {
			l.do("drop", n+"-"+s, "5")
			l.do("double", n+"-"+s, "2")
			l.do("late", n+"-"+s, "2")
		}
	}
	time.Sleep(5 * time.Second)
	l.same("5 % loss", number)
}

// TestRandomFaults: ten hosts on four switches; after each random set of faults
// the primary view has as many members as the one-relay checker says.
func TestRandomFaults(t *testing.T) {
	l := up(t, "../caltech.toml", withVIPs(0))
	net, err := topology.New(topology.Diameter, 10, 4, 2, 8, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := net.Elements()
	rng := rand.New(rand.NewPCG(*flagSeed, 0))
	for range *flagSets {
		var set []topology.Element
		for range 1 + rng.IntN(*flagFaults) {
			if e := all[rng.IntN(len(all))]; !slices.Contains(set, e) {
				set = append(set, e)
			}
		}
		loss, err := net.Loss(topology.OneRelay, set)
		if err != nil {
			t.Fatal(err)
		}
		want := len(l.nodes) - loss
		if 2*want <= len(l.nodes) {
			continue // no quorum, or only by who is in it
		}
		var down []string
		for _, e := range set {
			switch e.Part {
			case topology.Node:
				down = append(down, e.String())
				l.do("crash", e.String())
			case topology.Switch:
				l.do("crash", e.String())
			default:
				l.do("cut", e.String())
			}
		}
		start := time.Now()
		time.Sleep(300 * time.Millisecond) // for what the faults do, not what was before
		l.until("view of those that the checker says", 60*time.Second, func() bool {
			vs := l.views(l.nodes)
			var first view
			for _, v := range vs {
				first = v
				break
			}
			for n, v := range vs {
				if v.number != first.number || slices.Contains(down, n) {
					return false
				}
			}
			return len(vs) == want && len(first.members) == want
		})
		t.Logf("%v: %d of %d after %v", set, want, len(l.nodes), time.Since(start).Round(10*time.Millisecond))
		l.do("heal")
		for _, n := range down {
			l.do("start", n)
		}
		l.until("view of all after the heal", 60*time.Second, func() bool { return l.agree(l.nodes) })
	}
}
