package store

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rain/store/catalog"
)

// TestCrashAnywhere crashes a node after every step of its disk: what was
// confirmed is there and whole, nothing is half, and nothing stays in tmp.
func TestCrashAnywhere(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	c := startCluster(&cluster{t: t, stall: 5 * time.Second, now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }}, 3)
	nodes := c.all()
	n := nodes[1]
	mustBucket(t, nodes[0], "bucket")
	mustPut(t, n, "before", randomBody(1, 150<<10), PutOptions{})
	before := look(t, n.dir)
	tp := &tape{}
	n.fs.tape.Store(tp)

	needed := map[catalog.Sum]span{}
	put := func(key string, size int, seed uint64) catalog.Sum {
		rec0 := n.s.table.Now().Get("bucket", key)
		start := tp.len()
		if info := mustPut(t, n, key, randomBody(seed, size), PutOptions{}); info.Stored != 3 {
			t.Fatalf("put %s: %+v", key, info)
		}
		if rec0 != nil {
			needed[rec0.Body] = span{needed[rec0.Body].from, start}
		}
		body := n.s.table.Now().Get("bucket", key).Body
		needed[body] = span{tp.len(), never}
		return body
	}
	needed[n.s.table.Now().Get("bucket", "before").Body] = span{0, never}
	put("small", 1000, 2)
	put("large", 300<<10, 3)
	put("large", 200<<10, 4) // over another
	kept := put("kept", 500<<10, 5)

	damage(t, n.path("kept", 0), "flip")
	damageAt := tp.len()
	if bad, err := n.s.Scrub(t.Context()); bad != 1 || err != nil {
		t.Fatalf("scrub: %d bad, %v", bad, err)
	}
	eventually(t, "the repair", func() bool { return n.s.Missing() == 0 })
	repaired := tp.len()

	needed[n.s.table.Now().Get("bucket", "small").Body] = span{needed[n.s.table.Now().Get("bucket", "small").Body].from, tp.len()}
	if err := n.s.Delete(t.Context(), "bucket", "small", ""); err != nil {
		t.Fatal(err)
	}
	var guard orphanGuard
	n.s.removeOrphans(t.Context(), &guard)
	mu.Lock()
	now = now.Add(3 * time.Hour)
	mu.Unlock()
	n.s.removeOrphans(t.Context(), &guard)
	if got := len(n.s.bodies.all()); got != 3 {
		t.Errorf("%d pieces are left after the collection, 3 are needed", got)
	}
	n.fs.tape.Store(nil)
	c.replay(n, before, tp, needed)
	// The replaying disk never saw the flipped bit: the repair replaced the file.
	if repaired == damageAt || needed[kept].to != never {
		t.Error("nothing was repaired on the tape")
	}
}

// TestCrashStriped is TestCrashAnywhere for larger striped bodies: streamed ones,
// put twice, over another, lost and rebuilt, deleted, collected and put again.
func TestCrashStriped(t *testing.T) {
	var ahead atomic.Int64
	c := startCluster(&cluster{t: t, stall: 5 * time.Second, now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}, 4)
	nodes := c.all()
	n := nodes[2]
	mustBucket(t, nodes[0], "bucket")
	before := look(t, n.dir)
	tp := &tape{}
	n.fs.tape.Store(tp)
	needed := map[catalog.Sum]span{}
	put := func(via *node, key string, size int, seed uint64) {
		if old := via.s.table.Now().Get("bucket", key); old != nil && old.Size != int64(size) {
			needed[old.Body] = span{needed[old.Body].from, tp.len()}
		}
		// Neither size nor hash is announced: above a MiB the name is known only
		// at the end.
		info, _, err := via.s.Put(t.Context(), "bucket", key, bytes.NewReader(randomBody(seed, size)), PutOptions{})
		if err != nil || info.Stored != 4 {
			t.Fatalf("put %s: %+v, %v", key, info, err)
		}
		body := via.s.table.Now().Get("bucket", key).Body
		if sp, twice := needed[body]; !twice || sp.to != never {
			needed[body] = span{tp.len(), never}
		}
	}
	put(n, "a", 1<<20+1<<19, 1)
	put(nodes[0], "b", 1<<20+5, 2) // as a member, not as who takes the put
	put(n, "a2", 1<<20+1<<19, 1)   // the same content
	put(nodes[3], "b", 300<<10, 3) // over another
	put(n, "small", 5000, 4)

	for _, key := range []string{"a", "small"} {
		name := n.s.table.Now().Get("bucket", key).Body
		sp := needed[name]
		needed[name] = span{sp.from, tp.len()}
		if err := n.fs.remove(n.path(key, 0)); err != nil { // somebody else did
			t.Fatal(err)
		}
		n.s.lose(name, errDamaged)
		eventually(t, "the repair", func() bool { return n.s.Missing() == 0 })
		needed[name] = span{tp.len(), never}
	}
	for _, key := range []string{"b", "a"} {
		name := n.s.table.Now().Get("bucket", key).Body
		if key == "b" { // a has another key
			needed[name] = span{needed[name].from, tp.len()}
		}
		if err := n.s.Delete(t.Context(), "bucket", key, ""); err != nil {
			t.Fatal(err)
		}
	}
	var guard orphanGuard
	n.s.removeOrphans(t.Context(), &guard)
	ahead.Store(int64(3 * time.Hour))
	n.s.removeOrphans(t.Context(), &guard)
	if got := len(n.s.bodies.all()); got != 2 {
		t.Errorf("%d pieces are left after the collection, 2 are needed", got)
	}
	put(nodes[1], "b", 300<<10, 3) // once more what was collected
	n.fs.tape.Store(nil)
	c.replay(n, before, tp, needed)
}

// TestCrashParts is TestCrashStriped for a body of two parts, which are two files
// on each node: neither is there without the other once the put was confirmed.
func TestCrashParts(t *testing.T) {
	var ahead atomic.Int64
	c := startCluster(&cluster{t: t, stall: 30 * time.Second, now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}, 3)
	nodes := c.all()
	n := nodes[1]
	mustBucket(t, nodes[0], "bucket")
	before := look(t, n.dir)
	tp := &tape{coarse: 24 << 20}
	n.fs.tape.Store(tp)
	info, _, err := nodes[0].s.Put(t.Context(), "bucket", "film", bytes.NewReader(randomBody(1, 64<<20+300<<10)), PutOptions{})
	if err != nil || info.Stored != 3 {
		t.Fatalf("put: %+v, %v", info, err)
	}
	rec := n.s.table.Now().Get("bucket", "film")
	confirmed := tp.len()
	pieces := []catalog.Sum{pieceName(rec.Body, 0), pieceName(rec.Body, 1)}
	if got := n.s.bodies.all(); len(got) != 2 {
		t.Fatalf("%d pieces on the node, want the 2 parts", len(got))
	}

	if err := n.fs.remove(n.s.disk.path(pieces[1])); err != nil { // somebody else did
		t.Fatal(err)
	}
	n.s.lose(pieces[1], errDamaged)
	eventually(t, "the repair", func() bool { return n.s.Missing() == 0 })
	repaired := tp.len()
	if err := n.s.Delete(t.Context(), "bucket", "film", ""); err != nil {
		t.Fatal(err)
	}
	var guard orphanGuard
	n.s.removeOrphans(t.Context(), &guard)
	ahead.Store(int64(3 * time.Hour))
	n.s.removeOrphans(t.Context(), &guard)
	if got := len(n.s.bodies.all()); got != 0 {
		t.Errorf("%d pieces are left after the collection", got)
	}
	n.fs.tape.Store(nil)
	for _, left := range crashes {
		a := c.live(n, crashed(before, tp.ops[:confirmed], left), nodes[0])
		if !slices.Contains(a.have, pieces[0]) || !slices.Contains(a.have, pieces[1]) || a.half > 0 {
			t.Errorf("crash right after the put, of the unsynced %s is left: %d of 2 parts, %d half", left, len(a.have), a.half)
		}
	}
	c.replay(n, before, tp, map[catalog.Sum]span{pieces[0]: {confirmed, repaired + 1}, pieces[1]: {repaired, repaired + 1}})
}
