package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// clockedCluster is a cluster whose clock stands until it is moved.
func clockedCluster(t *testing.T, n int) (c *cluster, later func(time.Duration)) {
	t.Helper()
	var mu sync.Mutex
	now := time.Now()
	c = &cluster{t: t, stall: time.Second, now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }}
	startCluster(c, n)
	mustBucket(t, c.all()[0], "bucket")
	return c, func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
}

// settledMoves waits until no column is on its way or missing on any member.
func settledMoves(t *testing.T, c *cluster, what string, ok func() bool) {
	t.Helper()
	eventually(t, what, func() bool {
		for _, n := range c.all() {
			kick(n.s.moveNow)
			if n.s.Missing() > 0 {
				return false
			}
		}
		return ok()
	})
}

func (n *node) rec(key string) *catalog.Record { return n.s.table.Now().Get("bucket", key) }

// checkColumns holds each node's disk to the catalog: every column is where it is
// said to be, and the object reads well on every member.
func checkColumns(t *testing.T, c *cluster, key string, body []byte) {
	t.Helper()
	for _, n := range c.all() {
		rec := n.rec(key)
		if col := rec.Column(n.id); col >= 0 {
			for part := range layoutOf(rec).Parts() {
				if !n.s.hasColumn(pieceName(rec.Body, part), layoutOf(rec), col) {
					t.Errorf("%s does not have column %d of %s", n.id, col, key)
				}
			}
		}
		if !bytes.Equal(readAll(t, n, key), body) {
			t.Errorf("%s reads other bytes of %s", n.id, key)
		}
	}
}

func TestSparesTakeOverFromWhoStaysAway(t *testing.T) {
	c, later := clockedCluster(t, 8)
	nodes := c.all()
	bodies := map[string][]byte{}
	for i := range 12 {
		key := fmt.Sprint("k", i)
		bodies[key] = randomBody(uint64(i), 300<<10+i)
		mustPut(t, nodes[0], key, bodies[key], PutOptions{})
	}
	gone := c.nodes[nodes[0].rec("k0").Nodes[2]]
	reader := nodes[0]
	if gone == reader {
		reader = nodes[1]
	}
	before := 0
	for key := range bodies {
		if reader.rec(key).Column(gone.id) >= 0 {
			before++
		}
	}
	c.kill(gone)
	// Nothing moves before its time.
	reader.s.plan()
	later(59 * time.Minute)
	if p := reader.s.plan(); len(p.leaving) > 0 {
		t.Fatalf("leaving after 59 minutes: %v", p.leaving)
	}
	if st, err := reader.s.Stat("bucket", "k0"); err != nil || st.Survives != 1 {
		t.Fatalf("with one node dead: survives %d, %v", st.Survives, err)
	}
	report := reader.s.Layout()
	i := slices.IndexFunc(report.Nodes, func(n StorageNode) bool { return n.ID == gone.id })
	if row := report.Nodes[i]; row.Up || row.Away < 59*time.Minute || row.Symbols != before || row.Leaving || report.Version != 0 {
		t.Errorf("the layout shows %+v", row)
	}
	for _, n := range c.all() {
		n.s.plan() // each has seen it go at its own time
	}
	later(time.Hour + time.Minute)
	settledMoves(t, c, "all columns are on living nodes", func() bool {
		for key := range bodies {
			if reader.rec(key).Column(gone.id) >= 0 {
				return false
			}
		}
		return true
	})
	for key, body := range bodies {
		checkColumns(t, c, key, body)
		eventually(t, "it is known to be whole again", func() bool {
			st, err := reader.s.Stat("bucket", key)
			return err == nil && st.Stored == 6 && st.Survives == 2
		})
	}
	written, want := int64(0), int64(0)
	for _, n := range c.all() {
		written += n.s.Status().RepairedBytes
	}
	for key := range bodies {
		if rec := reader.rec(key); rec.Origin != nil {
			want += piecesSize(rec)
		}
	}
	if written != want || want == 0 {
		t.Errorf("%d bytes were written, %d had been on the dead node", written, want)
	}

	comesBack(t, c, gone, before, bodies, later)
}

// comesBack starts a node whose columns are elsewhere by now: what it has is
// surplus, and goes after the grace.
func comesBack(t *testing.T, c *cluster, gone *node, before int, bodies map[string][]byte, later func(time.Duration)) {
	t.Helper()
	reader := c.all()[0]
	c.start(gone)
	for key, body := range bodies {
		checkColumns(t, c, key, body)
	}
	if got := orphansOf(gone); got != before {
		t.Errorf("the returned node has %d orphans, want %d", got, before)
	}
	later(2 * time.Hour)
	if n, _, err := gone.s.gc(t.Context(), time.Hour); n != before || err != nil {
		t.Errorf("collected %d of %d, %v", n, before, err)
	}
	// New objects use it again.
	eventually(t, "a new object lies on it", func() bool {
		key := fmt.Sprint("new", time.Now().UnixNano())
		mustPut(t, reader, key, randomBody(uint64(time.Now().UnixNano()), 80<<10), PutOptions{})
		return reader.rec(key).Column(gone.id) >= 0
	})
}

// piecesSize is the size of one column of a body.
func piecesSize(r *catalog.Record) (size int64) {
	pieces(r, r.Nodes[0], func(p piece) { size += p.size })
	return size
}

func orphansOf(n *node) int {
	_, _, orphans, _ := n.s.bodies.sums()
	return orphans
}

func TestReplaceAndRemove(t *testing.T) {
	c, later := clockedCluster(t, 5)
	nodes := c.all()
	// The layout is four of the five.
	if err := nodes[0].s.RemoveStorage(t.Context(), nodes[4].id); err != nil {
		t.Fatal(err)
	}
	body := randomBody(3, 2<<20)
	if info := mustPut(t, nodes[0], "k", body, PutOptions{}); info.N != 4 {
		t.Fatalf("put on four: %+v", info)
	}
	old := nodes[1]
	column := nodes[0].rec("k").Column(old.id)
	opened, err := nodes[2].s.Open(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Body.Close()
	if err := nodes[0].s.ReplaceStorage(t.Context(), old.id, nodes[4].id); err != nil {
		t.Fatal(err)
	}
	settledMoves(t, c, "the heir has the column", func() bool { return nodes[0].rec("k").Column(nodes[4].id) == column })
	checkColumns(t, c, "k", body)
	report := nodes[0].s.Layout()
	for _, row := range report.Nodes {
		switch row.ID {
		case old.id:
			if row.Storage || row.Heir != nodes[4].id || row.Symbols != 0 {
				t.Errorf("the replaced node: %+v", row)
			}
		case nodes[4].id:
			if !row.Storage || row.Symbols != 1 || row.Missing != 0 {
				t.Errorf("the heir: %+v", row)
			}
		}
	}
	// The old node's symbols go after the grace; who had it open reads on.
	if n := orphansOf(old); n != 1 {
		t.Errorf("%d orphans on the old node", n)
	}
	later(2 * time.Hour)
	if n, _, err := old.s.gc(t.Context(), time.Hour); n != 1 || err != nil {
		t.Errorf("collected %d, %v", n, err)
	}
	got, err := io.ReadAll(io.NewSectionReader(opened.Body, 0, opened.Size))
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("the open object: %v", err)
	}
	// Four storage nodes and (4,2): nobody can take what a removed one has.
	if err := nodes[0].s.RemoveStorage(t.Context(), nodes[2].id); err != nil {
		t.Fatal(err)
	}
	later(time.Hour)
	report = nodes[0].s.Layout()
	i := slices.IndexFunc(report.Nodes, func(n StorageNode) bool { return n.ID == nodes[2].id })
	if row := report.Nodes[i]; row.Stuck != 1 || row.Moving != 0 {
		t.Errorf("without spares: %+v", row)
	}
	if done, err := nodes[0].s.Rewrite(t.Context(), "bucket"); done != 1 || err != nil {
		t.Errorf("rewrite: %d, %v", done, err)
	}
	if rec := nodes[0].rec("k"); rec.N != 3 || rec.Column(nodes[2].id) >= 0 {
		t.Errorf("rewritten: n=%d on %v", rec.N, rec.Nodes)
	}
	checkColumns(t, c, "k", body)
	checkRefusals(t, nodes, old)
}

func checkRefusals(t *testing.T, nodes []*node, old *node) {
	t.Helper()
	for what, err := range map[string]error{
		"add what is there":     nodes[0].s.AddStorage(t.Context(), nodes[0].id),
		"remove what is not":    nodes[0].s.RemoveStorage(t.Context(), 0x00010099),
		"replace what is not":   nodes[0].s.ReplaceStorage(t.Context(), 0x00010099, nodes[1].id),
		"replace by who is one": nodes[0].s.ReplaceStorage(t.Context(), nodes[0].id, nodes[3].id),
	} {
		if !errors.Is(err, ErrLayout) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := nodes[0].s.AddStorage(t.Context(), old.id); err != nil || nodes[3].s.table.Now().Layout().HeirOf(old.id) != 0 {
		t.Errorf("the old node taken back: %v", err)
	}
}

// A column that was made and not yet announced is an orphan; the next try uses
// it. One of another column under the same name is not taken for it.
func TestMoveIsCopyFirst(t *testing.T) {
	c, _ := clockedCluster(t, 4)
	nodes := c.all()
	if err := nodes[0].s.RemoveStorage(t.Context(), nodes[3].id); err != nil {
		t.Fatal(err)
	}
	body := randomBody(4, 1<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	rec := nodes[0].rec("k")
	spare := nodes[3]
	p := piece{pieceName(rec.Body, 0), piecesSize(rec), rec, 0}
	if err := spare.s.rebuildColumn(t.Context(), p, 2, nil); err != nil {
		t.Fatal(err)
	}
	if !spare.s.hasColumn(p.name, layoutOf(rec), 2) || spare.s.hasColumn(p.name, layoutOf(rec), 1) || orphansOf(spare) != 1 {
		t.Fatal("the copy is not known for what it is")
	}
	c.kill(spare)
	c.start(spare) // after the copy, before the op
	if got := nodes[0].rec("k").Nodes; !slices.Equal(got, rec.Nodes) {
		t.Fatalf("nothing was announced, and it lies on %v", got)
	}
	checkColumns(t, c, "k", body)
	if err := nodes[0].s.ReplaceStorage(t.Context(), rec.Nodes[1], spare.id); err != nil {
		t.Fatal(err)
	}
	settledMoves(t, c, "the heir has column 1", func() bool { return nodes[0].rec("k").Column(spare.id) == 1 })
	checkColumns(t, c, "k", body)
	if orphansOf(spare) != 0 {
		t.Error("the symbol that is needed is an orphan")
	}
}

func TestHeirOrder(t *testing.T) {
	rec := (&catalog.Record{Size: 1 << 20, N: 3, K: 2, Unit: 1 << 16, Nodes: []ring.NodeID{1, 2, 3}}).Derive()
	p := &movePlan{leaving: map[ring.NodeID]bool{1: true, 2: true}, takers: []ring.NodeID{3, 4, 5}}
	seen := map[ring.NodeID]int{}
	for _, m := range p.moves(rec) {
		seen[m.to]++
	}
	if len(seen) != 2 || seen[4] != 1 || seen[5] != 1 {
		t.Errorf("two columns go to %v", seen)
	}
	p.takers = []ring.NodeID{3, 4}
	if m := p.moves(rec); m[0].to != 4 || m[1].to != 0 {
		t.Errorf("with one spare: %+v", m)
	}
	p.takers, p.layout = []ring.NodeID{3, 4, 5, 6, 7}, &catalog.Layout{Heirs: []catalog.Heir{{Old: 2, New: 7}, {Old: 1, New: 6}}}
	if m := p.moves(rec); m[0].to != 6 || m[1].to != 7 {
		t.Errorf("with heirs: %+v", m)
	}
	p.takers = []ring.NodeID{3, 4, 5, 6} // 7 is not up yet
	if m := p.moves(rec); m[0].to != 6 || m[1].to != 0 {
		t.Errorf("with an heir that is to come: %+v", m)
	}
	p.leaving[7] = true // and stays away
	if m := p.moves(rec); m[0].to != 6 || m[1].to != 4 && m[1].to != 5 {
		t.Errorf("with an heir that does not come: %+v", m)
	}
}
