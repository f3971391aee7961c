package netlab

import (
	"testing"
	"time"
)

// TestTwo: a move, and one there and back, are no overlap; answers in turn are.
func TestTwo(t *testing.T) {
	start := time.Now()
	seq := func(step time.Duration, macs string) (out []Answer) {
		for i, m := range macs {
			out = append(out, Answer{start.Add(time.Duration(i) * step), string(m), "arp"})
		}
		return out
	}
	for macs, want := range map[string]int{
		"": 0, "aaaa": 0, "aaabbb": 0, "aaaaaaaabbbbbbbbaaaaaaaa": 0, "aaabaaa": 1, "aaabababbb": 4,
		// The first of b's is as short, and not to be told from a slip.
		"aaabbbabbb": 4, "aabbabb": 3,
	} {
		late, overlap, text := Two(seq(10*time.Millisecond, macs))
		if late != want || (late == 0) != (text == "") {
			t.Errorf("%q: %d late within %s (%s), want %d", macs, late, overlap, text, want)
		}
	}
}
