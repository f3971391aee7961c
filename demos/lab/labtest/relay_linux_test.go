package labtest

import (
	"strings"
	"testing"
	"time"
)

// withoutRelay has no node carry for others, with this kind of detection.
func withoutRelay(detection string) func(string) string {
	return func(s string) string {
		return strings.Replace(withVIPs(0)(s), "[cluster]", "[cluster]\nrelay = false\ndetection = \""+detection+"\"", 1)
	}
}

// TestAsymmetricWithoutRelay: two of three do not reach each other, and detection
// is aggressive. It leaves out the one that does not answer, which comes back by
// the third: the view changes, and in the end the ring may stand until the cut heals.
func TestAsymmetricWithoutRelay(t *testing.T) {
	l := up(t, "../asym.toml", withoutRelay("aggressive"))
	before := l.views(l.nodes)["n3"].number
	l.do("cut", "s1-s2")
	l.until("change of views", 20*time.Second, func() bool { return l.views(l.nodes)["n3"].number > before })
	time.Sleep(3 * time.Second)
	l.do("heal")
	l.until("one view of all", 30*time.Second, func() bool { return l.agree(l.nodes) })
	t.Logf("view %d before the cut, %d after it healed", before, l.views(l.nodes)["n3"].number)
}

// TestAsymmetricConservative: the same with conservative detection. Nobody is left
// out: the token gets to each of the two by the third.
func TestAsymmetricConservative(t *testing.T) {
	l := up(t, "../asym.toml", withoutRelay("conservative"))
	number := l.views(l.nodes)["n3"].number
	l.do("cut", "s1-s2")
	l.links("n1", "n2", 0)
	time.Sleep(3 * time.Second)
	l.same("cut, no relay", number)
	l.do("heal")
	l.links("n1", "n2", 1)
	l.same("healed", number)
}
