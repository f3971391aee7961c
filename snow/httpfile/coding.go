package httpfile

import "bytes"

// Coding is a content coding in which a file is kept ready.
type Coding uint8

// The codings, by preference where a client and the sizes leave it open.
const (
	Identity Coding = iota
	Brotli
	Zstd
	Gzip
	codings
)

// String is the name used in Content-Encoding; "" for Identity.
func (c Coding) String() string {
	return [codings]string{"", "br", "zstd", "gzip"}[c]
}

// Suffix is what a file in the coding has after its own name, published beside it.
func (c Coding) Suffix() string {
	return [codings]string{"", ".br", ".zst", ".gz"}[c]
}

// Encoded are the codings other than Identity.
func Encoded() [3]Coding { return [3]Coding{Brotli, Zstd, Gzip} }

// Choose picks a coding from an Accept-Encoding header. sizes holds the bytes of
// the file in each coding, -1 where there is none; Identity is always there.
// The highest weight wins, then the smaller file. If the header forbids all that
// there is, Identity is served nevertheless, as RFC 9110 section 12.5.3 allows.
func Choose(header []byte, sizes [4]int64) Coding {
	if len(header) == 0 {
		return Identity
	}
	const unnamed = -1
	weight := [codings]int{unnamed, unnamed, unnamed, unnamed}
	star := unnamed
	for len(header) > 0 {
		var item []byte
		item, header, _ = bytes.Cut(header, []byte(","))
		name, params, _ := bytes.Cut(item, []byte(";"))
		name = bytes.Trim(name, " \t")
		q := parseWeight(params)
		if string(name) == "*" {
			star = q
		} else if c, ok := codingNamed(name); ok {
			weight[c] = q
		}
	}
	best, bestWeight := Identity, weight[Identity]
	if bestWeight == unnamed {
		// Not named: acceptable, and any coding that the client asked for is better.
		bestWeight = 0
		if star > 0 {
			bestWeight = 1
		}
	}
	for _, c := range Encoded() {
		w := weight[c]
		if w == unnamed {
			w = star
		}
		if sizes[c] < 0 || w <= 0 {
			continue
		}
		if w > bestWeight || w == bestWeight && sizes[c] < sizes[best] {
			best, bestWeight = c, w
		}
	}
	return best
}

func codingNamed(name []byte) (Coding, bool) {
	switch {
	case bytes.EqualFold(name, []byte("br")):
		return Brotli, true
	case bytes.EqualFold(name, []byte("zstd")):
		return Zstd, true
	case bytes.EqualFold(name, []byte("gzip")), bytes.EqualFold(name, []byte("x-gzip")):
		return Gzip, true
	case bytes.EqualFold(name, []byte("identity")):
		return Identity, true
	}
	return 0, false
}

// parseWeight reads ";q=0.123" as thousandths. Without a weight it is 1000; a
// malformed weight is 0, so that a coding is never used by mistake.
func parseWeight(params []byte) int {
	params = bytes.Trim(params, " \t")
	if len(params) == 0 {
		return 1000
	}
	name, v, ok := bytes.Cut(params, []byte("="))
	name, v = bytes.Trim(name, " \t"), bytes.Trim(v, " \t")
	if !ok || !bytes.EqualFold(name, []byte("q")) || len(v) == 0 || len(v) > 5 {
		return 0
	}
	if v[0] != '0' && v[0] != '1' || len(v) > 1 && v[1] != '.' {
		return 0
	}
	q, unit := int(v[0]-'0')*1000, 100
	for i := 2; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' {
			return 0
		}
		q += int(v[i]-'0') * unit
		unit /= 10
	}
	if q > 1000 {
		return 0
	}
	return q
}
