package labtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rain/demos/lab/engine"
)

var flagRandom = flag.Int("random", 50, "random faults of TestNobodyActsTwice; -seed chooses them")

// mostDelay is how late a delayed cable's frames are, and 5 ms.
const mostDelay = 60 * time.Millisecond

// breaker breaks and mends at random.
type breaker struct {
	l      *lab
	rng    *rand.Rand
	order  func(string, engine.Order)
	tell   func(string, engine.Order) error
	counts map[string]int
	undo   []func()
	down   string // a node whose process is dead or frozen; at most one at a time
}

// cutSome lets the nodes of a random part not hear, or not be heard by, the others.
func (b *breaker) cutSome(oneWay bool) string {
	for {
		var in, out []string
		for _, n := range b.l.nodes {
			if b.rng.IntN(2) == 0 {
				in = append(in, n)
			} else {
				out = append(out, n)
			}
		}
		if len(in) > 0 && len(out) > 0 {
			split(b.order, [][]string{in, out}, oneWay)
			return strings.Join(in, " ") + "|" + strings.Join(out, " ")
		}
	}
}

func (b *breaker) node() string { return b.l.nodes[b.rng.IntN(len(b.l.nodes))] }

// process breaks the process of one node, and says how to mend it.
func (b *breaker) process(verb, undo string) string {
	if b.down != "" {
		return ""
	}
	n := b.node()
	b.down = n
	b.order(verb, engine.Order{Name: n})
	b.undo = append(b.undo, func() {
		b.down = ""
		// Who was told to stop hands over first, and ends in its time.
		b.l.until(undo+" of "+n, 30*time.Second, func() bool { return b.tell(undo, engine.Order{Name: n}) == nil })
	})
	return n
}

// one makes one fault and says which; "" if it could not.
func (b *breaker) one() string {
	kinds := []struct {
		name string
		do   func() string
	}{
		{"partition", func() string { return b.cutSome(false) }},
		{"partition one way", func() string { return b.cutSome(true) }},
		{"pair", func() string { return b.pair(false) }},
		{"pair one way", func() string { return b.pair(true) }},
		{"cable", func() string { return b.cable("cut", 0) }},
		{"loss", func() string { return b.cable("drop", 20+60*b.rng.Float64()) }},
		{"delay", func() string { return b.cable("delay", 5+b.rng.Float64()*float64(mostDelay.Milliseconds())) }},
		{"twice", func() string { return b.cable("double", 50) }},
		{"late", func() string { return b.cable("late", 50) }},
		{"switch", b.aSwitch},
		{"crash", func() string { return b.process("crash", "start") }},
		{"freeze", func() string { return b.process("freeze", "thaw") }},
		{"stop", func() string { return b.process("stop", "start") }},
	}
	k := kinds[b.rng.IntN(len(kinds))]
	what := k.do()
	if what == "" {
		return ""
	}
	b.counts[k.name]++
	return k.name + " " + what
}

func (b *breaker) pair(oneWay bool) string {
	x, y := b.node(), b.node()
	if x == y {
		return ""
	}
	b.order("cut", engine.Order{Name: x + "-" + y, OneWay: oneWay})
	return x + "-" + y
}

func (b *breaker) cable(verb string, value float64) string {
	name := fmt.Sprintf("%s-s%d", b.node(), 1+b.rng.IntN(2))
	b.order(verb, engine.Order{Name: name, Value: value})
	return name
}

// aSwitch kills the switch that the neighbour is not on.
func (b *breaker) aSwitch() string {
	b.order("crash", engine.Order{Name: "s2"})
	return "s2"
}

func (b *breaker) heal() {
	b.order("heal", engine.Order{})
	for _, f := range b.undo {
		f()
	}
	b.undo = nil
}

// TestNobodyActsTwice: random faults, up to three at a time, for some tenths of a
// second or some seconds. While all this goes on no two nodes act on one address,
// and a neighbour that hears all of them never has two answers in turn. After each
// set of faults all nodes are one view again in time.
func TestNobodyActsTwice(t *testing.T) {
	const vips = 4
	l := up(t, "../small.toml", withVIPs(vips))
	r := l.judge(vips)
	n := l.listen(r.vips)
	b := &breaker{l: l, rng: rand.New(rand.NewPCG(*flagSeed, 77)), order: l.orders(), tell: l.teller(), counts: map[string]int{}}
	total, sets, worst, worstOf := 0, 0, time.Duration(0), ""
	for total < *flagRandom {
		var what []string
		for range 1 + b.rng.IntN(3) {
			if f := b.one(); f != "" {
				what = append(what, f)
				time.Sleep(time.Duration(b.rng.IntN(150)) * time.Millisecond)
			}
		}
		if len(what) == 0 {
			continue
		}
		hold := time.Duration(100+b.rng.IntN(900)) * time.Millisecond
		if b.rng.IntN(10) == 0 {
			hold *= 3
		}
		time.Sleep(hold)
		b.heal()
		healed := time.Now()
		text := strings.Join(what, ", ")
		l.until("one view of all after "+text, oneViewWithin, func() bool { return l.agree(l.nodes) })
		if took := time.Since(healed); took > worst {
			worst, worstOf = took, text
		}
		total, sets = total+len(what), sets+1
	}
	var kinds []string
	for k, n := range b.counts {
		kinds = append(kinds, fmt.Sprintf("%d %s", n, k))
	}
	slices.Sort(kinds)
	t.Logf("%d random faults in %d sets, seed %d: %s", total, sets, *flagSeed, strings.Join(kinds, ", "))
	t.Logf("one view again after %v at most (%s)", worst.Round(10*time.Millisecond), worstOf)
	r.clean(t)
	n.clean(t, mostDelay+20*time.Millisecond)
}
