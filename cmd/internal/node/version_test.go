package node

import (
	"testing"

	"rain/ring"
)

func TestSpoken(t *testing.T) {
	view := func(ids ...ring.NodeID) (v ring.View) {
		for _, id := range ids {
			v.Members = append(v.Members, ring.ViewMember{Member: ring.Member{ID: id, Inc: 1}})
		}
		return v
	}
	for _, c := range []struct {
		view     ring.View
		versions map[ring.NodeID]int
		want     int
		older    int
	}{
		{view(1, 2), map[ring.NodeID]int{1: 2, 2: 2}, 2, 0},
		{view(1, 2), map[ring.NodeID]int{1: 2, 2: 1}, 1, 1},
		{view(1, 2), map[ring.NodeID]int{1: 2}, 1, 1}, // its row is not there yet, or tells none
		{view(1, 2), map[ring.NodeID]int{1: 2, 2: 9}, 2, 0},
		{view(1), map[ring.NodeID]int{1: 2, 3: 1}, 2, 0}, // 3 is no member
	} {
		if got, older := spoken(c.view, c.versions); got != c.want || len(older) != c.older {
			t.Errorf("%v with %v: version %d, older %v; want %d, %d", c.view, c.versions, got, older, c.want, c.older)
		}
	}
}

// Rows of older and of newer releases are read.
func TestRowsOfOtherVersions(t *testing.T) {
	for text, max := range map[string]int{
		`{"n":"n1","a":"http://10.0.0.1:8081","l":["10.0.0.1:7400"]}`:   0,
		`{"n":"n1","l":["10.0.0.1:7400"],"m":3,"new":{"later":[true]}}`: 3,
	} {
		r, ok := parseRow([]byte(text))
		if !ok || r.Name != "n1" || len(r.Links) != 1 || r.Max != max {
			t.Errorf("%s is read as %+v, %v", text, r, ok)
		}
	}
	if _, ok := parseRow([]byte{1, 2, 3}); ok {
		t.Error("bytes that are no row were read")
	}
}
