package labtest

import (
	"strings"
	"testing"
	"time"
)

// TestAsymmetricWithoutRelay: the same cut with relay off. Aggressive detection
// leaves out the one that does not answer, which comes back by the third, and is
// left out again: the view changes as long as the cut lasts, and nobody is
// harmed but by that.
func TestAsymmetricWithoutRelay(t *testing.T) {
	l := up(t, "../asym.toml", func(s string) string {
		return strings.Replace(withVIPs(0)(s), "[cluster]", "[cluster]\nrelay = false", 1)
	})
	before := l.views(l.nodes)["n3"].number
	l.do("cut", "s1-s2")
	l.until("change of views", 20*time.Second, func() bool { return l.views(l.nodes)["n3"].number >= before+2 })
	time.Sleep(3 * time.Second)
	during := l.views([]string{"n3"})["n3"].number
	l.do("heal")
	l.until("one view of all", 30*time.Second, func() bool { return l.agree(l.nodes) })
	t.Logf("%d changes of the view within a few seconds of the cut", during-before)
}
