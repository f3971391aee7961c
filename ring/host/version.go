package host

import (
	"bytes"

	"rain/ring"
)

// spokenBy is what a row told of its member's wire version.
type spokenBy struct {
	row     []byte
	version int
}

// versionOf is the wire version in which to talk to a member: what its row on the
// last token says. With the turn only.
func (n *Node) versionOf(to ring.Member) int {
	if n.cfg.RowVersion == nil {
		return ring.WireVersion
	}
	rows, _ := n.Rows()
	for _, r := range rows {
		if r.Member != to {
			continue
		}
		known := n.spoken[to.ID]
		if !bytes.Equal(known.row, r.Data) {
			known = spokenBy{r.Data, n.cfg.RowVersion(r.Data)}
			n.spoken[to.ID] = known
		}
		return known.version
	}
	return ring.WireOldest
}
