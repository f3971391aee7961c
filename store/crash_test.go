package store

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/store/catalog"
)

// fsOp is one step of a file system.
type fsOp struct {
	kind, path, to string
	data           []byte
}

// tape is what happened on a node's disk; a nil one takes nothing.
type tape struct {
	mu  sync.Mutex
	ops []fsOp
}

func (t *tape) add(op fsOp) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ops = append(t.ops, op)
}

func (t *tape) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ops)
}

func (f *testFS) publish(tmp, path string) error {
	err := f.osFS.publish(tmp, path)
	if err == nil {
		f.tape.Load().add(fsOp{kind: "rename", path: tmp, to: path})
	}
	return err
}

func (f *testFS) remove(path string) error {
	err := f.osFS.remove(path)
	if err == nil {
		f.tape.Load().add(fsOp{kind: "remove", path: path})
	}
	return err
}

func (f *testFS) mkdir(path string) error {
	f.tape.Load().add(fsOp{kind: "mkdir", path: path})
	return f.osFS.mkdir(path)
}

func (f *testFS) syncDir(path string) error {
	f.tape.Load().add(fsOp{kind: "syncdir", path: path})
	return f.osFS.syncDir(path)
}

// inode is a file or a folder with what would be left of it.
type inode struct {
	folder       bool
	data, synced []byte
}

// crashed plays a tape and returns the files and folders after a crash: with
// lost, all that was not synced, of files and of names, is gone.
func crashed(before map[string]*inode, ops []fsOp, lost bool) map[string]*inode {
	now, durable := map[string]*inode{}, map[string]*inode{}
	for p, i := range before {
		c := *i
		now[p], durable[p] = &c, &c
	}
	for _, op := range ops {
		switch op.kind {
		case "create":
			now[op.path] = &inode{}
		case "mkdir":
			if now[op.path] == nil {
				now[op.path] = &inode{folder: true}
			}
		case "write":
			now[op.path].data = append(bytes.Clone(now[op.path].data), op.data...)
		case "sync":
			now[op.path].synced = now[op.path].data
		case "rename":
			now[op.to] = now[op.path]
			delete(now, op.path)
		case "remove":
			delete(now, op.path)
		case "syncdir":
			maps.DeleteFunc(durable, func(p string, _ *inode) bool { return filepath.Dir(p) == op.path })
			for p, i := range now {
				if filepath.Dir(p) == op.path {
					durable[p] = i
				}
			}
		}
	}
	if !lost {
		return now
	}
	out := map[string]*inode{}
	for p, i := range durable {
		out[p] = &inode{folder: i.folder, data: i.synced}
	}
	return out
}

// look takes a folder in as it is; all of it counts as synced.
func look(t *testing.T, root string) map[string]*inode {
	t.Helper()
	out := map[string]*inode{}
	err := filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		i := &inode{folder: e.IsDir()}
		if !i.folder {
			if i.data, err = os.ReadFile(p); err != nil {
				return err
			}
			i.synced = i.data
		}
		out[p] = i
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lay writes files and folders of one root below another.
func lay(t *testing.T, files map[string]*inode, from, to string) {
	t.Helper()
	for _, p := range slices.Sorted(maps.Keys(files)) {
		path := to + strings.TrimPrefix(p, from)
		var err error
		if files[p].folder {
			err = os.MkdirAll(path, 0o700)
		} else if _, serr := os.Stat(filepath.Dir(path)); serr == nil { // else its folder is lost
			err = os.WriteFile(path, files[p].data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

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

	// Each piece must be there from its put's confirmation to its delete.
	type span struct{ from, to int }
	const never = 1 << 30
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
	t.Logf("%d steps", tp.len())

	for at := range tp.len() + 1 {
		for _, lost := range []bool{true, false} {
			files := crashed(before, tp.ops[:at], lost)
			root := c.tempDir()
			lay(t, files, n.dir, root)
			after := &cluster{t: t, stall: time.Second}
			after.startOn(root)
			m := after.all()[0]
			what := fmt.Sprintf("crash after step %d, unsynced lost: %v", at, lost)
			have := m.s.bodies.all()
			for body, sp := range needed {
				if at >= sp.from && at < sp.to && !slices.Contains(have, body) {
					t.Errorf("%s: a confirmed piece is lost", what)
				}
			}
			bad, err := m.s.Scrub(t.Context())
			if err != nil || bad > 0 {
				t.Errorf("%s: %d pieces are half, %v", what, bad, err)
			}
			noLeftovers(t, m)
			after.kill(m)
			_ = os.RemoveAll(root)
		}
	}
	// The replaying disk never saw the flipped bit: the repair replaced the file.
	if repaired == damageAt || needed[kept].to != never {
		t.Error("nothing was repaired on the tape")
	}
}

// startOn starts one node on a folder as a crash left it.
func (c *cluster) startOn(dir string) {
	c.nodes, c.now = nil, time.Now
	startCluster(c, 0)
	c.start(&node{c: c, id: 0x00010001, dir: dir, fs: &testFS{}})
}
