package catalog

import (
	"bytes"
	"slices"
	"testing"

	"rain/ring"
)

// Column i lies on Nodes[i]: their order is part of the record, on its way
// through an op and through a snapshot, and of the body's name.
func TestColumnsKeepTheirOrder(t *testing.T) {
	tab := New(nil)
	apply(t, tab, 1, bucketOp(t, "bucket"))
	a := rec(1)
	a.N, a.K, a.Unit, a.Nodes = 4, 2, 64, []ring.NodeID{7, 3, 9, 1}
	b := a
	b.Nodes = []ring.NodeID{1, 3, 7, 9}
	put(t, tab, 2, "bucket", "a", Cond{}, a)
	put(t, tab, 3, "bucket", "b", Cond{}, b)
	var snap bytes.Buffer
	if err := tab.Snapshot(&snap); err != nil {
		t.Fatal(err)
	}
	again := New(nil)
	if err := again.Restore(&snap); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*View{tab.Now(), again.Now()} {
		x, y := v.Get("bucket", "a"), v.Get("bucket", "b")
		if !slices.Equal(x.Nodes, a.Nodes) || !slices.Equal(y.Nodes, b.Nodes) || x.Body == y.Body {
			t.Errorf("columns on %v and %v, want %v and %v; bodies %v, %v", x.Nodes, y.Nodes, a.Nodes, b.Nodes, x.Body, y.Body)
		}
	}
}
