package host

import (
	"testing"

	"rain/ring"
)

// A member gets the version that its own row tells, the oldest before it has one.
func TestVersionOf(t *testing.T) {
	a, b := ring.Member{ID: 1, Inc: 5}, ring.Member{ID: 2, Inc: 7}
	read := 0
	n := &Node{spoken: map[ring.NodeID]spokenBy{}}
	n.rows.Store(newRowSet(nil))
	if got := n.versionOf(a); got != ring.WireVersion {
		t.Errorf("where all are of one release: %d", got)
	}
	n.cfg.RowVersion = func(row []byte) int { read++; return int(row[0]) }
	if got := n.versionOf(a); got != ring.WireOldest {
		t.Errorf("without a row: %d", got)
	}
	rows := []ring.Row{{Member: a, Data: []byte{2}}, {Member: b, Data: []byte{1}}}
	n.rows.Store(newRowSet(rows))
	for range 3 {
		if x, y := n.versionOf(a), n.versionOf(b); x != 2 || y != 1 {
			t.Errorf("versions %d, %d", x, y)
		}
	}
	if read != 2 {
		t.Errorf("rows that did not change were read %d times", read)
	}
	// A new incarnation may be of another release; its row is not there yet.
	if got := n.versionOf(ring.Member{ID: 1, Inc: 6}); got != ring.WireOldest {
		t.Errorf("a new incarnation: %d", got)
	}
	rows = []ring.Row{{Member: ring.Member{ID: 1, Inc: 6}, Data: []byte{1}}}
	n.rows.Store(newRowSet(rows))
	if got := n.versionOf(ring.Member{ID: 1, Inc: 6}); got != 1 {
		t.Errorf("an older release than before: %d", got)
	}
}
