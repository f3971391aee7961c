package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rain/ring"
)

// cluster is a ring and a network in memory: ops in one order for all members,
// and bulk connections that can be cut and frozen.
type cluster struct {
	t     testing.TB
	mu    sync.Mutex
	index uint64
	view  []ring.NodeID
	nodes map[ring.NodeID]*node
	stall time.Duration
	now   func() time.Time
	path  func(ring.NodeID) (Peers, Services) // nil: pipes
	disk  bool                                // on a real disk, not in memory
	calls atomic.Int64
	sent  atomic.Int64 // bytes written by callers
	got   atomic.Int64 // bytes read by callers
}

type node struct {
	c      *cluster
	id     ring.NodeID
	dir    string
	fs     *testFS
	s      *Store
	rider  ring.Rider
	stop   context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	down   bool
	frozen bool
	lonely bool // not in the primary component
	conns  map[net.Conn]bool
	handle map[string]func(context.Context, ring.NodeID, net.Conn)
	wg     sync.WaitGroup
}

// testFS breaks the file system on demand.
type testFS struct {
	osFS
	freeNow atomic.Uint64 // 0: plenty
	budget  atomic.Int64  // bytes that may still be written, if limited
	limited atomic.Bool
	tape    atomic.Pointer[tape] // if set, what happens is written down
}

func (f *testFS) free(string) (uint64, error) {
	if n := f.freeNow.Load(); n > 0 {
		return n, nil
	}
	return 1 << 50, nil
}

func (f *testFS) create(path string) (file, error) {
	inner, err := f.osFS.create(path)
	if err != nil {
		return nil, err
	}
	f.tape.Load().add(fsOp{kind: "create", path: path})
	return &testFile{inner, f, path}, nil
}

type testFile struct {
	file
	fs   *testFS
	path string
}

func (f *testFile) Sync() error {
	err := f.file.Sync()
	if err == nil {
		f.fs.tape.Load().add(fsOp{kind: "sync", path: f.path})
	}
	return err
}

func (f *testFile) Write(p []byte) (int, error) {
	if f.fs.limited.Load() && f.fs.budget.Add(-int64(len(p))) < 0 {
		return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	f.fs.tape.Load().add(fsOp{kind: "write", path: f.path, data: bytes.Clone(p)})
	return f.file.Write(p)
}

func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	return startCluster(&cluster{t: t, stall: time.Second}, n)
}

func startCluster(c *cluster, n int) *cluster {
	c.t.Helper()
	c.nodes = map[ring.NodeID]*node{}
	if c.now == nil {
		c.now = time.Now
	}
	for i := range n {
		c.add(ring.NodeID(0x00010001 + i))
	}
	return c
}

// tempDir is in memory where that is easy: a disk that others keep busy stalls
// for seconds.
func (c *cluster) tempDir() string {
	if !c.disk {
		if dir, err := os.MkdirTemp("/dev/shm", "rain-store-test-"); err == nil {
			c.t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	return c.t.TempDir()
}

// add starts a node with an empty disk and joins it.
func (c *cluster) add(id ring.NodeID) *node {
	c.t.Helper()
	n := &node{c: c, id: id, dir: c.tempDir(), fs: &testFS{}}
	c.start(n)
	return n
}

// start starts a node on its folder and joins it by a member's snapshot.
func (c *cluster) start(n *node) {
	c.t.Helper()
	n.mu.Lock() // others call it all the time; it answers when it has its handlers
	n.conns = map[net.Conn]bool{}
	n.handle = map[string]func(context.Context, ring.NodeID, net.Conn){}
	n.down, n.frozen = true, false
	n.mu.Unlock()
	log := slog.New(slog.DiscardHandler)
	cfg := DefaultConfig()
	cfg.Dir, cfg.PeerStall = n.dir, c.stall
	deps := Deps{Ring: n, Peers: n, Services: n}
	if c.path != nil {
		deps.Peers, deps.Services = c.path(n.id)
	}
	s, err := newStore(cfg, deps, log, n.fs, c.now)
	if err != nil {
		c.t.Fatal(err)
	}
	n.mu.Lock()
	n.down = false
	n.mu.Unlock()
	n.s, n.rider = s, s.Rider()
	s.windows.free = func(b []byte) { poison(b); s.freeRaw(b) }
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.done = cancel, make(chan struct{})
	c.mu.Lock()
	if len(c.view) > 0 {
		from := c.nodes[c.view[0]]
		r, w := io.Pipe()
		go func() { w.CloseWithError(from.rider.Snapshot(w)) }()
		if err := n.rider.Restore(r); err != nil {
			c.t.Fatal(err)
		}
	}
	c.nodes[n.id] = n
	c.setView(append(slices.Clone(c.view), n.id))
	c.mu.Unlock()
	go func() { defer close(n.done); _ = s.Run(ctx) }()
	c.t.Cleanup(func() { c.kill(n) })
}

// setView tells all members of a new view; the lock is held.
func (c *cluster) setView(ids []ring.NodeID) {
	slices.Sort(ids)
	c.view = ids
	c.index++
	v := ring.View{Number: c.index}
	for _, id := range ids {
		v.Members = append(v.Members, ring.ViewMember{Member: ring.Member{ID: id, Inc: 1}})
	}
	for _, id := range ids {
		c.nodes[id].rider.View(c.index, v, 0)
	}
}

// crash cuts all connections of a node; the view does not know yet.
func (c *cluster) crash(n *node) {
	n.mu.Lock()
	n.down = true
	for conn := range n.conns {
		conn.Close()
	}
	n.mu.Unlock()
}

// leave takes a node out of the view.
func (c *cluster) leave(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setView(slices.DeleteFunc(slices.Clone(c.view), func(id ring.NodeID) bool { return id == n.id }))
}

// kill ends a node for good, or until start.
func (c *cluster) kill(n *node) {
	c.crash(n)
	if slices.Contains(n.Members(), n.id) {
		c.leave(n)
	}
	n.stop()
	<-n.done
	n.wg.Wait()
}

func (n *node) Self() ring.NodeID { return n.id }

func (n *node) Members() []ring.NodeID {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.view
}

// Storage are all nodes that there ever were, up or down.
func (n *node) Storage() []ring.NodeID {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return slices.Sorted(maps.Keys(n.c.nodes))
}

func (n *node) Known() []ring.NodeID { return n.Storage() }

func (n *node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lonely {
		return ring.ErrNotPrimary
	}
	return nil
}

func (n *node) Propose(ctx context.Context, op []byte) ([]byte, error) {
	if err := n.Ready(); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.index++
	var result []byte
	for _, id := range n.c.view {
		res := n.c.nodes[id].rider.Apply(n.c.index, ring.Member{ID: n.id, Inc: 1}, op)
		if id == n.id {
			result = res
		}
	}
	if result == nil {
		return nil, ring.ErrOutcomeUnknown
	}
	return result, nil
}

func (n *node) Handle(service string, h func(context.Context, ring.NodeID, net.Conn)) {
	n.handle[service] = h
}

// keep registers a connection until forget; false: the node is down.
func (n *node) keep(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return false
	}
	n.conns[conn] = true
	n.wg.Add(1)
	return true
}

func (n *node) forget(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, conn)
	conn.Close()
	n.wg.Done()
}

func (n *node) Call(ctx context.Context, peer ring.NodeID, service string, f func(net.Conn) error) error {
	n.c.mu.Lock()
	p := n.c.nodes[peer]
	n.c.mu.Unlock()
	n.c.calls.Add(1)
	ours, theirs := net.Pipe()
	if p == nil || !n.keep(ours) {
		return errors.New("connection refused")
	}
	defer n.forget(ours)
	if !p.keep(theirs) {
		return errors.New("connection refused")
	}
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen {
		defer p.forget(theirs)
	} else {
		h := p.handle[service]
		go func() {
			defer p.forget(theirs)
			h(ctx, n.id, theirs)
		}()
	}
	return f(&countingConn{ours, n.c})
}

type countingConn struct {
	net.Conn
	c *cluster
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.c.got.Add(int64(n))
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.c.sent.Add(int64(n))
	return n, err
}

// all returns the nodes in the view.
func (c *cluster) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*node
	for _, id := range c.view {
		out = append(out, c.nodes[id])
	}
	return out
}

// path is where the node keeps its piece of an object's part.
func (n *node) path(key string, part int) string {
	rec := n.s.table.Now().Get("bucket", key)
	if !rec.Striped() {
		return n.s.disk.path(rec.Sum)
	}
	return n.s.disk.path(pieceName(rec.Body, part))
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after 10 s not yet: %s", what)
}
