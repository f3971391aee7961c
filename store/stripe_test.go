package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"rain/store/array"
)

// forget empties the memory of decoded content, so that reads go to the symbols.
func (c *cluster) forget() {
	for _, n := range c.all() {
		w := n.s.windows
		w.mu.Lock()
		w.order.Init()
		clear(w.byKey)
		w.used = 0
		w.mu.Unlock()
	}
}

// TestEveryPairOfDeaths: with any two of four nodes dead the others read all.
func TestEveryPairOfDeaths(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	sizes := []int{smallBody + 1, 128<<10 - 1, 128 << 10, 1 << 20, 1<<20 + 1, 3<<20 + 12345}
	bodies := map[string][]byte{}
	for i, size := range sizes {
		key := fmt.Sprint(size)
		bodies[key] = randomBody(uint64(i), size)
		if info := mustPut(t, nodes[i%4], key, bodies[key], PutOptions{}); info.N != 4 || info.K != 2 || info.Stored != 4 || info.Survives != 2 {
			t.Fatalf("size %d: %+v", size, info)
		}
	}
	for i := range 4 {
		for j := range i {
			c.kill(nodes[i])
			c.kill(nodes[j])
			c.forget()
			for _, n := range c.all() {
				for key, body := range bodies {
					if !bytes.Equal(readAll(t, n, key), body) {
						t.Fatalf("nodes %d and %d dead: %s reads other bytes of %s", i, j, n.id, key)
					}
				}
			}
			if data, known := c.all()[0].s.Tolerance(); data != 0 || !known {
				t.Fatalf("two of four dead: tolerance %d", data)
			}
			c.start(nodes[j])
			c.start(nodes[i])
			for _, n := range nodes {
				eventually(t, "nothing is missing", func() bool { return n.s.Missing() == 0 })
				if got := n.s.Status().RepairedBytes; got != 0 {
					t.Fatalf("%d bytes were repaired that were not lost", got)
				}
			}
		}
	}
}

func TestThreeOfFourDead(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	mustPut(t, nodes[0], "k", randomBody(1, 1<<20), PutOptions{})
	for _, n := range nodes[1:] {
		c.kill(n)
	}
	if _, err := nodes[0].s.Open(t.Context(), "bucket", "k"); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errTooFew) {
		t.Errorf("open with one symbol of two: %v", err)
	}
	_, _, err := nodes[0].s.Put(t.Context(), "bucket", "new", bytes.NewReader(randomBody(2, 1<<20)), PutOptions{})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("put with one node of two needed: %v", err)
	}
	noLeftovers(t, nodes[0])
}

// TestPutWithDeadNodes: a put goes to the living nodes of the layout; a node
// that comes back gets the columns that it lacks and no more.
func TestPutWithDeadNodes(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	old := randomBody(1, 2<<20)
	mustPut(t, nodes[0], "old", old, PutOptions{})
	c.kill(nodes[1])
	c.kill(nodes[3])
	body := randomBody(2, 5<<20)
	if info := mustPut(t, nodes[2], "k", body, PutOptions{}); info.N != 4 || info.K != 2 || info.Stored != 2 || info.Survives != 0 {
		t.Fatalf("with two of four: %+v", info)
	}
	for _, n := range []*node{nodes[3], nodes[1]} {
		c.start(n)
		eventually(t, "repair", func() bool { return n.s.Missing() == 0 })
		want, err := os.Stat(n.path("k", 0))
		if err != nil || n.s.Status().RepairedBytes != want.Size() {
			t.Errorf("%s wrote %d bytes, its column has %d, %v", n.id, n.s.Status().RepairedBytes, want.Size(), err)
		}
	}
	eventually(t, "all columns are known", func() bool {
		st, err := nodes[0].s.Stat("bucket", "k")
		return err == nil && st.Stored == 4 && st.Survives == 2
	})
	c.kill(nodes[0])
	c.kill(nodes[2])
	if !bytes.Equal(readAll(t, nodes[1], "k"), body) || !bytes.Equal(readAll(t, nodes[3], "old"), old) {
		t.Error("the rebuilt columns give other bytes")
	}
}

// TestFlippedBits: none is served, all are repaired, also when every node has
// some in the same part.
func TestFlippedBits(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(4, 40<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	want, bad := map[*node][]byte{}, map[*node][]byte{}
	for _, n := range nodes {
		b, err := os.ReadFile(n.path("k", 0))
		if err != nil {
			t.Fatal(err)
		}
		want[n], bad[n] = b, bytes.Clone(b)
	}
	// Of each block two columns may go bad: more would be more than the code
	// promises. The bits are anywhere in them, checksums included.
	r := rand.New(rand.NewPCG(1, 2))
	const blocks, flips = 320, 1000
	var victims [blocks][]int
	for i := range victims {
		victims[i] = r.Perm(4)[:2]
	}
	units := map[[2]int]bool{}
	for flipped := map[[2]int64]bool{}; len(flipped) < flips; {
		block := r.IntN(blocks)
		column := victims[block][r.IntN(2)]
		bit := int64(block)*(array.DefaultUnit+4)*8 + r.Int64N((array.DefaultUnit+4)*8)
		if at := [2]int64{int64(column), bit}; !flipped[at] { // twice would be not at all
			flipped[at] = true
			bad[nodes[column]][bit/8] ^= 1 << (bit % 8)
			units[[2]int{block, column}] = true
		}
	}
	for _, n := range nodes {
		if err := os.WriteFile(n.path("k", 0), bad[n], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		if !bytes.Equal(readAll(t, n, "k"), body) {
			t.Fatalf("%s served flipped bits", n.id)
		}
	}
	for _, n := range nodes {
		if _, err := n.s.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		eventually(t, "all is repaired", func() bool {
			b, err := os.ReadFile(n.path("k", 0))
			return err == nil && bytes.Equal(b, want[n]) && n.s.Missing() == 0
		})
		if bad, err := n.s.Scrub(t.Context()); bad != 0 || err != nil {
			t.Errorf("%s after the repair: %d bad, %v", n.id, bad, err)
		}
		if n.s.Status().ChecksumFailures == 0 {
			t.Errorf("%s counted no failures", n.id)
		}
	}
	t.Logf("%d bits flipped in %d units of %d MiB: none served, all repaired", flips, len(units), len(body)>>20)
	for _, n := range nodes {
		if !bytes.Equal(readAll(t, n, "k"), body) {
			t.Fatalf("%s reads other bytes after the repair", n.id)
		}
	}
}

// TestParts: an object of several parts is a file each, and a lost one alone is
// rebuilt.
func TestParts(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(7, 64<<20+5<<20)
	mustPut(t, nodes[1], "k", body, PutOptions{})
	var want []byte
	for p := range 2 {
		var err error
		if want, err = os.ReadFile(nodes[2].path("k", p)); err != nil {
			t.Fatal(err)
		}
	}
	c.kill(nodes[2])
	if err := os.Remove(nodes[2].path("k", 1)); err != nil {
		t.Fatal(err)
	}
	c.start(nodes[2])
	eventually(t, "the part is back", func() bool { return nodes[2].s.Missing() == 0 })
	got, err := os.ReadFile(nodes[2].path("k", 1))
	if err != nil || !bytes.Equal(got, want) || nodes[2].s.Status().RepairedBytes != int64(len(want)) {
		t.Errorf("rebuilt %d bytes, the part has %d, equal %v, %v", nodes[2].s.Status().RepairedBytes, len(want), bytes.Equal(got, want), err)
	}
	c.kill(nodes[1])
	c.forget()
	if !bytes.Equal(readAll(t, nodes[0], "k"), body) {
		t.Error("other bytes")
	}
}

// TestEmptiedDisk: a node whose disk is new gets every symbol that it lacked.
func TestEmptiedDisk(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	for i := range 12 {
		mustPut(t, nodes[i%4], fmt.Sprint(i), randomBody(uint64(i), 70<<10+i*300000), PutOptions{})
	}
	victim := nodes[3]
	var want int64
	files := map[string][]byte{}
	for i := range 12 {
		b, err := os.ReadFile(victim.path(fmt.Sprint(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		files[victim.path(fmt.Sprint(i), 0)] = b
		want += int64(len(b))
	}
	c.kill(victim)
	if err := os.RemoveAll(filepath.Join(victim.dir, "objects")); err != nil {
		t.Fatal(err)
	}
	c.start(victim)
	if st := victim.s.Status(); st.Missing == 0 && st.RepairedBytes == 0 {
		t.Error("nothing is missing")
	}
	eventually(t, "all symbols are back", func() bool { return victim.s.Missing() == 0 })
	if got := victim.s.Status().RepairedBytes; got != want {
		t.Errorf("%d bytes were written, %d were lacking", got, want)
	}
	for path, b := range files {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s is another, %v", path, err)
		}
	}
}

func TestBucketCode(t *testing.T) {
	c := newCluster(t, 5)
	n := c.all()[0]
	if _, err := n.s.CreateBucketCode(t.Context(), "bucket", Code{N: 3, K: 1}); err != nil {
		t.Fatal(err)
	}
	body := randomBody(11, 300<<10)
	if info := mustPut(t, n, "k", body, PutOptions{}); info.N != 3 || info.K != 1 || info.Survives != 2 {
		t.Errorf("%+v", info)
	}
	for _, m := range c.all() {
		if !bytes.Equal(readAll(t, m, "k"), body) {
			t.Errorf("%s reads other bytes", m.id)
		}
	}
	if _, err := n.s.CreateBucketCode(t.Context(), "wide", Code{N: 9, K: 5}); !errors.Is(err, ErrBadCode) {
		t.Errorf("code wider than the cluster: %v", err)
	}
	if _, err := n.s.CreateBucketCode(t.Context(), "bad", Code{N: 2, K: 3}); !errors.Is(err, ErrBadName) {
		t.Errorf("k above n: %v", err)
	}
}

func TestRewrite(t *testing.T) {
	c := newCluster(t, 3)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	bodies := [][]byte{randomBody(1, 1000), randomBody(2, 100<<10), randomBody(3, 2<<20)}
	for i, b := range bodies {
		mustPut(t, n, fmt.Sprint(i), b, PutOptions{ContentType: "a/b", Meta: map[string]string{"x": "y"}})
	}
	putWhole(t, c, "old", randomBody(4, 300<<10))
	c.add(0x00010008)
	c.add(0x00010009)
	if done, err := n.s.Rewrite(t.Context(), "bucket"); done != 3 || err != nil {
		t.Fatalf("rewritten %d, %v", done, err)
	}
	if done, err := n.s.Rewrite(t.Context(), "bucket"); done != 0 || err != nil {
		t.Errorf("rewritten again %d, %v", done, err)
	}
	if st, err := n.s.Stat("bucket", "old"); err != nil || st.N != 5 || st.K != 3 {
		t.Errorf("the whole body: %+v, %v", st, err)
	}
	for i, b := range bodies[1:] {
		st, err := n.s.Stat("bucket", fmt.Sprint(i+1))
		if err != nil || st.N != 5 || st.K != 3 || st.Meta["x"] != "y" || st.ContentType != "a/b" {
			t.Errorf("object %d: %+v, %v", i+1, st, err)
		}
		if !bytes.Equal(readAll(t, c.all()[4], fmt.Sprint(i+1)), b) {
			t.Errorf("object %d: other bytes", i+1)
		}
	}
}

// midway calls a function in the middle of a body.
type midway struct {
	bytes.Reader
	do func()
}

func (m *midway) Read(p []byte) (int, error) {
	if m.do != nil && m.Len() < int(m.Size())/2 {
		m.do()
		m.do = nil
	}
	return m.Reader.Read(p[:min(len(p), 4096)])
}

// TestPutWhileLeftOut: the view lacks the node that takes the body for a moment,
// at the put's beginning.
func TestPutWhileLeftOut(t *testing.T) {
	c := newCluster(t, 4)
	n := c.all()[1]
	mustBucket(t, n, "bucket")
	c.mu.Lock()
	whole := c.view
	c.mu.Unlock()
	c.leave(n)
	body := randomBody(7, 6<<20)
	r := &midway{Reader: *bytes.NewReader(body), do: func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.setView(whole)
	}}
	info, _, err := n.s.Put(t.Context(), "bucket", "key", r, PutOptions{Size: int64(len(body))})
	if err != nil {
		t.Fatal(err)
	}
	if info.Stored != 4 {
		t.Errorf("stored on %d nodes, want 4", info.Stored)
	}
	for _, n := range c.all() {
		if !bytes.Equal(readAll(t, n, "key"), body) {
			t.Errorf("%s reads other bytes", n.id)
		}
	}
}
