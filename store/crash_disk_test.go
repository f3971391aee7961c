package store

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
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
	// coarse makes one step of the writes to a file that follow each other, up to
	// as many bytes: for large bodies. None of them is synced before the last.
	coarse int
}

func (t *tape) add(op fsOp) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if op.kind == "write" && t.merge(op) {
		return
	}
	t.ops = append(t.ops, op)
}

func (t *tape) merge(op fsOp) bool {
	for i := len(t.ops) - 1; i >= 0; i-- {
		last := &t.ops[i]
		switch {
		case last.path != op.path && last.to != op.path:
			continue
		case last.kind != "write" || len(last.data)+len(op.data) > t.coarse:
			return false
		}
		last.data = append(last.data, op.data...)
		return true
	}
	return false
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

// crashed plays a tape and returns the files and folders after a crash; left is
// one of crashes.
func crashed(before map[string]*inode, ops []fsOp, left string) map[string]*inode {
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
	if left == "all" {
		return now
	}
	if left == "names" {
		durable = now
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
