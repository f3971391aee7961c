package httpfile

import (
	"testing"
)

// FuzzParseRange compares with a set of bytes: what a twin says that is wanted.
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5,3-4", "bytes=5-", "bytes=0-0,0-0", "bytes=-0", "bytes=,", "bytes=9-99999999999999999999"} {
		f.Add([]byte(s), int64(10))
	}
	f.Fuzz(func(t *testing.T, header []byte, size int64) {
		if size < 0 {
			return
		}
		rs, err := ParseRange(nil, header, size)
		if err != nil && len(rs) > 0 || len(rs) > MaxRanges {
			t.Fatalf("%d ranges and %v", len(rs), err)
		}
		end := int64(-1)
		for _, r := range rs {
			if r.Length < 1 || r.Start <= end || r.Start+r.Length > size {
				t.Fatalf("%q of %d bytes: %v", header, size, rs)
			}
			end = r.Start + r.Length
		}
	})
}

func FuzzChoose(f *testing.F) {
	f.Add([]byte("br;q=0.5, gzip, *;q=0"))
	f.Fuzz(func(t *testing.T, header []byte) {
		sizes := [4]int64{100, -1, 50, -1}
		if c := Choose(header, sizes); sizes[c] < 0 {
			t.Fatalf("%q: chose %q, which is not there", header, c)
		}
	})
}

func FuzzMatchesAny(f *testing.F) {
	f.Add([]byte(`W/"a", "b"`), true)
	f.Fuzz(func(t *testing.T, list []byte, weak bool) {
		if matchesAny(list, `"tag"`, false) && !matchesAny(list, `"tag"`, true) {
			t.Fatalf("%q matches strongly, but not weakly", list)
		}
	})
}

func TestWeight(t *testing.T) {
	for s, want := range map[string]int{"": 1000, "q=1": 1000, "q=0": 0, "Q=0.5": 500, " q=0.123 ": 123, "q=1.000": 1000, "q=1.001": 0, "q=x": 0, "q=.5": 0, "x=1": 0, "q=0.1234": 0} {
		if got := parseWeight([]byte(s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
