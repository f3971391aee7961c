package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rain/ring"
	"rain/snow/admin"
)

// The version of what nodes say to each other. Each tells in its row the highest
// that it speaks; all say only what the lowest of the view understands. So nodes
// of version N and N-1 are one ring, and what N brought begins when the last node
// is upgraded. From then on there is no way back: a node of N-1 would not keep
// what it does not know.
//
//	1  the riders of addresses, catalog, queue and streams
//	2  the roster: invitations, names and addresses on the token; settings;
//	   messages of ring.WireVersion 2
const (
	versionFirst  = 1 // of rows that tell none
	versionRoster = 2
	maxVersion    = 2
)

// spoken is the version that all members of the view speak, and who speaks less
// than this node. A member whose row is not on the token yet counts as the first.
func spoken(v ring.View, versions map[ring.NodeID]int) (version int, older []ring.NodeID) {
	version = maxVersion
	for _, m := range v.Members {
		theirs := max(versions[m.ID], versionFirst)
		if theirs < maxVersion {
			older = append(older, m.ID)
		}
		version = min(version, theirs)
	}
	return version, older
}

// rowVersion is the version of ring messages that a member reads.
func rowVersion(data []byte) int {
	r, ok := parseRow(data)
	if !ok || r.Max < 2 {
		return ring.WireOldest
	}
	return ring.WireVersion
}

func (n *node) spoken() (version int, older []ring.NodeID) {
	versions := map[ring.NodeID]int{n.file.Node.ID: maxVersion}
	rows, _ := n.host.Rows()
	for _, r := range rows {
		if x, ok := parseRow(r.Data); ok && r.Member.ID != n.file.Node.ID {
			versions[r.Member.ID] = x.Max
		}
	}
	return spoken(n.host.View(), versions)
}

// rowsTake is how long a new member's row may take to come round.
const rowsTake = 2 * time.Second

// awaitVersion is needVersion, but for a member that has come just now.
func (n *node) awaitVersion(ctx context.Context, version int) error {
	end := time.Now().Add(rowsTake)
	for {
		err := n.needVersion(version)
		if err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryEvery / 2):
		}
	}
}

// needVersion is an error while somebody does not understand what is wanted.
func (n *node) needVersion(version int) error {
	have, older := n.spoken()
	if have >= version {
		return nil
	}
	var names []string
	for _, id := range older {
		names = append(names, n.known.name(id))
	}
	return fmt.Errorf("%w: %s run an older release, which does not know this (version %d, this needs %d); upgrade them first", admin.ErrConflict, strings.Join(names, ", "), have, version)
}
