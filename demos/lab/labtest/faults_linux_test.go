package labtest

import (
	"strings"
	"testing"
	"time"
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
