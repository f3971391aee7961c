package labtest

import (
	"cmp"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/demos/lab/engine"
	"rain/demos/lab/plan"
	"rain/demos/lab/reach"
	"rain/ring/topology"
)

var (
	flagSets   = flag.Int("sets", 20, "random sets of faults")
	flagFaults = flag.Int("faults", 3, "how many faults a set has at most; at least two")
	flagSeed   = flag.Uint64("seed", 1, "of the choice of faults")
	flagSet    = flag.String("set", "", "these faults (n6-s2 n3-s3 s1-s2) each time, instead of random ones")
	flagKeep   = flag.String("keep", "", "a folder for the logs and the links' histories of all nodes when the view changed and should not have; the test ends then")
	flagSkip   = flag.Int("skip", 0, "sets not to try: to go on where another run stopped")
)

// fault is one element by the laboratory's name.
func (sum *tally) fault(verb string, e topology.Element) error {
	if verb == "heal" && (e.Part == topology.Switch || e.Part == topology.Node) {
		verb = "start"
	}
	if verb == "cut" && (e.Part == topology.Switch || e.Part == topology.Node) {
		verb = "crash"
	}
	return sum.tell(verb, engine.Order{Name: e.String()})
}

// all does something to all elements of a set at once. It starts no program for
// that: three at a time took both processors from the nodes at the very moment of
// the fault.
func (l *lab) all(verb string, set []topology.Element, sum *tally) {
	l.t.Helper()
	var wg sync.WaitGroup
	for _, e := range set {
		wg.Go(func() {
			if err := sum.fault(verb, e); err != nil {
				l.t.Error(err)
			}
		})
	}
	wg.Wait()
}

// tally is what became of the sets of faults.
type tally struct {
	done, undecided int
	changes         int // of the view, at sets that cost no node
	worst           time.Duration
	number          uint64 // of the view after the last set
	cores           *cores
	tell            func(verb string, o engine.Order) error
}

// newTally begins with the view as it is.
func (l *lab) newTally() *tally {
	return &tally{number: l.number(), cores: l.cores(), tell: l.teller()}
}

// number is that of the view that all nodes are in. A node whose lease has just
// lapsed says nothing of it: then again.
func (l *lab) number() (n uint64) {
	l.t.Helper()
	l.until("view of all", 30*time.Second, func() bool {
		vs := l.views(l.nodes)
		n = vs[l.nodes[0]].number
		for _, v := range vs {
			if v.number != n {
				return false
			}
		}
		return len(vs) == len(l.nodes)
	})
	return n
}

// hold breaks a set and waits until the members of the primary view are those
// that the one-relay checker and the quorum rule say: as many as can all talk to
// each other with one relay, and such that all of them can. Then it mends the
// set. Half of the nodes or fewer have a quorum only by who they are, or none:
// such a set is left out.
func (l *lab) hold(p *plan.Plan, n *topology.Net, set []topology.Element, sum *tally) {
	l.t.Helper()
	faults := reach.Faults{}
	for _, e := range set {
		faults[e.String()] = true
	}
	direct, err := reach.Direct(p, faults)
	if err != nil {
		l.t.Fatal(err)
	}
	can := direct.OneRelay()
	loss, err := n.Loss(topology.OneRelay, set)
	if err != nil {
		l.t.Fatal(err)
	}
	want := len(l.nodes) - loss
	if want != can.Largest() {
		l.t.Fatalf("%v: the two checkers differ", set)
	}
	if 2*want <= len(l.nodes) {
		sum.undecided++
		return
	}
	start := time.Now()
	l.all("cut", set, sum)
	time.Sleep(300 * time.Millisecond) // for what the faults do, not what was before
	l.until("view of those that the checker says after "+text(set), 30*time.Second, func() bool {
		vs := l.views(l.nodes)
		var first view
		var who []string
		for n, v := range vs {
			first, who = v, append(who, n)
		}
		slices.Sort(who)
		for _, v := range vs {
			if v.number != first.number || !slices.Equal(slices.Sorted(slices.Values(v.members)), who) {
				return false
			}
		}
		return len(who) == want && can.All(who)
	})
	took := time.Since(start)
	sum.done++
	sum.worst = max(sum.worst, took)
	l.t.Logf("%s: %d of %d after %v", text(set), want, len(l.nodes), took.Round(10*time.Millisecond))
	healed := time.Now()
	l.all("heal", set, sum)
	l.until("view of all after the heal of "+text(set), 30*time.Second, func() bool { return l.agree(l.nodes) })
	time.Sleep(250 * time.Millisecond) // for what the mending does
	l.unchanged(set, loss, start, healed, sum)
}

// unchanged counts how often the view has changed since the last set, and tells
// why if that set cost no node.
func (l *lab) unchanged(set []topology.Element, loss int, start, healed time.Time, sum *tally) {
	l.t.Helper()
	starved, number := sum.cores.told(), l.number()
	changes := int(number - sum.number)
	sum.number = number
	if loss == 0 && changes > 0 {
		sum.changes += changes
		l.t.Logf("%s: %d changes of the view, though all can reach each other; cut at %s, healed at %s; who had no processor: %s", text(set), changes,
			start.UTC().Format(clock), healed.UTC().Format(clock), cmp.Or(strings.Join(starved, ", "), "none"))
		if *flagKeep != "" {
			l.keep(*flagKeep)
			l.t.FailNow()
		}
		l.t.Log("the nodes' logs until now:")
		l.logs()
	}
}

func text(set []topology.Element) string {
	var out []string
	for _, e := range set {
		out = append(out, e.String())
	}
	return strings.Join(out, " ")
}

// caltech is the laboratory of ten hosts on four switches, and its checkers' nets.
func caltech(t *testing.T) (*lab, *plan.Plan, *topology.Net) {
	l := up(t, "../caltech.toml", withVIPs(0))
	b, err := os.ReadFile("../caltech.toml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	n, err := topology.New(topology.Diameter, 10, 4, 2, 8, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l, p, n
}

// TestEverySingleFault: each switch, trunk, node and cable of the ten hosts on
// four switches, one after the other.
func TestEverySingleFault(t *testing.T) {
	l, p, n := caltech(t)
	sum := l.newTally()
	for i, e := range n.Elements() {
		if i >= *flagSkip {
			l.hold(p, n, []topology.Element{e}, sum)
		}
	}
	t.Logf("%d single faults held, the slowest after %v; %d changes of the view at those that cost no node", sum.done, sum.worst.Round(10*time.Millisecond), sum.changes)
}

// named are the elements with these names.
func named(t *testing.T, all []topology.Element, names string) (set []topology.Element) {
	for _, name := range strings.Fields(names) {
		i := slices.IndexFunc(all, func(e topology.Element) bool { return e.String() == name })
		if i < 0 {
			t.Fatalf("there is no %s", name)
		}
		set = append(set, all[i])
	}
	return set
}

// TestRandomFaults: random pairs and triples on the same net. -sets 200 offline.
func TestRandomFaults(t *testing.T) {
	l, p, n := caltech(t)
	all := n.Elements()
	rng := rand.New(rand.NewPCG(*flagSeed, 0))
	sum := l.newTally()
	for i := range *flagSets {
		set := named(t, all, *flagSet)
		for size := 2 + rng.IntN(max(*flagFaults-1, 1)); *flagSet == "" && len(set) < size; {
			if e := all[rng.IntN(len(all))]; !slices.Contains(set, e) {
				set = append(set, e)
			}
		}
		if i >= *flagSkip {
			l.hold(p, n, set, sum)
		}
	}
	t.Logf("%d sets held, the slowest after %v; %d changes of the view at those that cost no node; %d left out: half of the nodes or fewer are left",
		sum.done, sum.worst.Round(10*time.Millisecond), sum.changes, sum.undecided)
}
