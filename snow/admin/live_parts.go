package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// part is one part of the status, encoded: "name":value, without the braces of
// the summary.
type part struct {
	version uint64
	json    []byte
	told    Status // what drifts, as it is in json
}

// partRule says how a part is taken out of a status, when it is the same, and
// when it has drifted so far that it is told again at the next beat.
type partRule struct {
	name   string
	of     func(*Status) any
	same   func(a, b *Status) bool
	drifts func(told, now *Status) bool // nil: never
}

const numParts = 10

// partTable lists the parts; all but the summary are members of the status with
// that name. What changes all the time does not make a part new: seq, lease and
// rates are in the beats, round trips and losses come along with them.
var partTable = [numParts]partRule{
	{"summary", func(s *Status) any { return summary{s.Node, s.Cluster, s.Health, s.Sentence} }, func(a, b *Status) bool {
		return a.Node == b.Node && a.Cluster == b.Cluster && a.Health == b.Health && a.Sentence == b.Sentence
	}, nil},
	{"ring", func(s *Status) any { return s.Ring }, func(a, b *Status) bool { return calmRing(a.Ring) == calmRing(b.Ring) }, nil},
	{"members", func(s *Status) any { return s.Members }, func(a, b *Status) bool { return reflect.DeepEqual(a.Members, b.Members) }, nil},
	{"links", func(s *Status) any { return s.Links }, func(a, b *Status) bool { return sameLinks(a.Links, b.Links, false) }, func(a, b *Status) bool { return !sameLinks(a.Links, b.Links, true) }},
	{"vips", func(s *Status) any { return s.VIPs }, func(a, b *Status) bool { return reflect.DeepEqual(a.VIPs, b.VIPs) }, nil},
	{"queue", func(s *Status) any { return s.Queue }, func(a, b *Status) bool { return reflect.DeepEqual(a.Queue, b.Queue) }, nil},
	{"streams", func(s *Status) any { return s.Streams }, func(a, b *Status) bool { return reflect.DeepEqual(a.Streams, b.Streams) }, nil},
	{"store", func(s *Status) any { return s.Store }, func(a, b *Status) bool { return reflect.DeepEqual(a.Store, b.Store) }, nil},
	{"tolerance", func(s *Status) any { return s.Tolerance }, func(a, b *Status) bool { return reflect.DeepEqual(a.Tolerance, b.Tolerance) }, nil},
	{"warnings", func(s *Status) any { return s.Warnings }, func(a, b *Status) bool { return reflect.DeepEqual(a.Warnings, b.Warnings) }, nil},
}

// summary is what the status says in its plain fields.
type summary struct {
	Node     string `json:"node"`
	Cluster  string `json:"cluster"`
	Health   string `json:"health"`
	Sentence string `json:"sentence"`
}

func calmRing(r Ring) Ring {
	r.Seq, r.LeaseLeftMS, r.RotationsPS, r.HopP50US, r.HopP99US = 0, 0, 0, 0, 0
	return r
}

// sameLinks compares what links are; with measures, how good they are, too: a
// round trip is the same within a factor of about two, a loss within a twentieth.
func sameLinks(a, b []Link, measures bool) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if measures && (octave(x.RTTUS) != octave(y.RTTUS) || math.Abs(x.Loss-y.Loss) > 0.05) {
			return false
		}
		x.RTTUS, y.RTTUS, x.Loss, y.Loss = 0, 0, 0, 0
		if x != y {
			return false
		}
	}
	return true
}

func octave(us int64) int64 {
	if us <= 0 {
		return 0
	}
	return int64(math.Round(math.Log2(float64(us))))
}

func partNames() string {
	names := make([]string, numParts)
	for i, p := range partTable {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

// encodePart is JSON on one line; a part of the status gets its name by
// encodeNamed.
func encodePart(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("admin: live: %w", err)
	}
	return b, nil
}

// encodeNamed makes a member of an object; the summary's members are taken out
// of its braces.
func encodeNamed(name string, v any) ([]byte, error) {
	b, err := encodePart(v)
	if err != nil {
		return nil, err
	}
	if name == "summary" {
		return bytes.Trim(b, "{}"), nil
	}
	return append([]byte(`"`+name+`":`), b...), nil
}
