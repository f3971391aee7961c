package httpfile

import (
	"bytes"
	"errors"
	"slices"
)

// MaxRanges is how many ranges one request may name. A request with more gets
// the whole file, as RFC 9110 section 14.2 allows.
const MaxRanges = 16

// Range is a part of a file: Length bytes from Start. Length is never 0.
type Range struct {
	Start, Length int64
}

// ErrUnsatisfiable says that a Range header is well formed and that none of
// its ranges touches the file: the answer is 416.
var ErrUnsatisfiable = errors.New("httpfile: no range of the request touches the file")

// ParseRange reads a Range header for a file of size bytes and appends the
// ranges to dst, merged and in rising order. A header that is not understood
// (another unit, bad syntax, too many ranges) gives none and no error: RFC 9110
// section 14.2 lets a server ignore it.
func ParseRange(dst []Range, header []byte, size int64) ([]Range, error) {
	rest, ok := bytes.CutPrefix(header, []byte("bytes="))
	if !ok {
		return nil, nil
	}
	named := 0
	out := dst[:0]
	for len(rest) > 0 {
		var spec []byte
		spec, rest, _ = bytes.Cut(rest, []byte(","))
		spec = bytes.Trim(spec, " \t")
		if len(spec) == 0 { // the list rule of RFC 9110 section 5.6.1 allows empty members
			continue
		}
		if named++; named > MaxRanges {
			return nil, nil
		}
		r, ok := parseSpec(spec, size)
		if !ok {
			return nil, nil
		}
		if r.Length > 0 {
			out = append(out, r)
		}
	}
	if named == 0 {
		return nil, nil
	}
	if len(out) == 0 {
		return nil, ErrUnsatisfiable
	}
	return merge(out), nil
}

// parseSpec reads "a-b", "a-" or "-n". A range outside of the file has length 0.
func parseSpec(spec []byte, size int64) (Range, bool) {
	first, last, ok := bytes.Cut(spec, []byte("-"))
	if !ok {
		return Range{}, false
	}
	if len(first) == 0 {
		n, ok := parseInt(last)
		if !ok {
			return Range{}, false
		}
		n = min(n, size)
		return Range{Start: size - n, Length: n}, true
	}
	a, ok := parseInt(first)
	if !ok {
		return Range{}, false
	}
	b := size - 1
	if len(last) > 0 {
		if b, ok = parseInt(last); !ok || b < a {
			return Range{}, false
		}
	}
	if a >= size {
		return Range{}, true
	}
	return Range{Start: a, Length: min(b, size-1) - a + 1}, true
}

// parseInt reads digits only. What does not fit is the largest int64: such an
// offset lies behind every file.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	const top = int64(^uint64(0) >> 1)
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (top-9)/10 {
			n = top
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// merge sorts the ranges and joins those that overlap or touch, so that no
// request makes us send a byte twice.
func merge(rs []Range) []Range {
	if len(rs) == 1 {
		return rs
	}
	slices.SortFunc(rs, func(a, b Range) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	out := rs[:1]
	for _, r := range rs[1:] {
		last := &out[len(out)-1]
		if r.Start <= last.Start+last.Length {
			last.Length = max(last.Length, r.Start+r.Length-last.Start)
			continue
		}
		out = append(out, r)
	}
	return out
}
