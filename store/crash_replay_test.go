package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"rain/store/catalog"
)

// span is the steps from a put's confirmation to its delete: a crash after any of
// them must leave the piece.
type span struct{ from, to int }

const never = 1 << 30

// A crash leaves of what was not synced, of files and of names: nothing; all;
// or the names, but not what is in the files.
var crashes = []string{"nothing", "all", "names"}

// replay crashes a node after each step of the tape, in each way, and looks at
// what its next life finds: no confirmed piece is lost, none is half, and after
// the grace nothing is left that the cluster's catalog does not name.
func (c *cluster) replay(n *node, before map[string]*inode, tp *tape, needed map[catalog.Sum]span) {
	t := c.t.(*testing.T)
	t.Helper()
	live := c.all()[0]
	lost, half, leaks, crashCount := 0, 0, 0, 0
	found := map[[32]byte]aftermath{} // many steps leave the same disk
	for at := range tp.len() + 1 {
		for _, left := range crashes {
			what := fmt.Sprintf("crash after step %d of %d (%s), of the unsynced %s is left", at, tp.len(), lastOp(tp.ops[:at]), left)
			files := crashed(before, tp.ops[:at], left)
			key := digest(files)
			a, known := found[key]
			if !known {
				a = c.live(n, files, live)
				found[key] = a
				if a.half > 0 || a.leaks > 0 {
					t.Errorf("%s: %d pieces are half, %d stay after the collection", what, a.half, a.leaks)
				}
				half, leaks = half+a.half, leaks+a.leaks
			}
			for body, sp := range needed {
				if at >= sp.from && at < sp.to && !slices.Contains(a.have, body) {
					lost++
					t.Errorf("%s: a confirmed piece is lost", what)
				}
			}
			crashCount++
		}
	}
	t.Logf("%d steps, %d crashes, %d different disks: %d confirmed pieces lost, %d half, %d leaks", tp.len(), crashCount, len(found), lost, half, leaks)
}

// aftermath is what a life after a crash found.
type aftermath struct {
	have        []catalog.Sum
	half, leaks int
}

// live starts a node on what a crash left, looks at its pieces, gives it the
// cluster's catalog and lets it collect.
func (c *cluster) live(n *node, files map[string]*inode, from *node) (a aftermath) {
	t := c.t.(*testing.T)
	t.Helper()
	root := c.tempDir()
	defer os.RemoveAll(root)
	lay(t, files, n.dir, root)
	var ahead atomic.Int64
	after := &cluster{t: t, stall: time.Second, now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}
	after.startOn(root)
	m := after.all()[0]
	defer after.kill(m)
	a.have = m.s.bodies.all()
	var err error
	if a.half, err = m.s.Scrub(t.Context()); err != nil {
		t.Error(err)
	}
	noLeftovers(t, m)
	var catalogNow bytes.Buffer
	if err := from.rider.Snapshot(&catalogNow); err != nil {
		t.Fatal(err)
	}
	if err := m.rider.Restore(&catalogNow); err != nil {
		t.Fatal(err)
	}
	var guard orphanGuard
	m.s.removeOrphans(t.Context(), &guard)
	ahead.Store(int64(3 * time.Hour))
	m.s.removeOrphans(t.Context(), &guard)
	for _, name := range m.s.bodies.all() {
		if _, named := findPiece(from.s.table.Now(), name, n.id); !named {
			a.leaks++
		}
	}
	return a
}

func digest(files map[string]*inode) (sum [32]byte) {
	h := sha256.New()
	for _, p := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %v %d\n", p, files[p].folder, len(files[p].data))
		h.Write(files[p].data)
	}
	h.Sum(sum[:0])
	return sum
}

func lastOp(ops []fsOp) string {
	if len(ops) == 0 {
		return "before the first"
	}
	return ops[len(ops)-1].kind
}

// startOn starts one node on a folder as a crash left it.
func (c *cluster) startOn(dir string) {
	startCluster(c, 0)
	c.start(&node{c: c, id: 0x00010001, dir: dir, fs: &testFS{}})
}
