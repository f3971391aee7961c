package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rain/ring"
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

// TestRangesAgainstPlainBytes reads ranges of objects of all codes and compares.
func TestRangesAgainstPlainBytes(t *testing.T) {
	for n := 1; n <= 7; n++ {
		c := newCluster(t, n)
		nodes := c.all()
		mustBucket(t, nodes[0], "bucket")
		body := randomBody(uint64(n), 2<<20+77777)
		want := array.Auto(n)
		if info := mustPut(t, nodes[n-1], "k", body, PutOptions{}); info.N != want.N || info.K != want.K || info.Stored != want.N {
			t.Fatalf("%d nodes: %+v", n, info)
		}
		if want.N-want.K > 0 && n > 1 {
			c.kill(nodes[n/2])
		}
		reader := c.all()[0]
		rapid.Check(t, func(rt *rapid.T) {
			if rapid.IntRange(0, 3).Draw(rt, "forget") == 0 {
				c.forget()
			}
			o, err := reader.s.Open(t.Context(), "bucket", "k")
			if err != nil {
				rt.Fatal(err)
			}
			defer o.Body.Close()
			off := rapid.Int64Range(0, o.Size+10).Draw(rt, "offset")
			for range rapid.IntRange(1, 4).Draw(rt, "reads") {
				p := make([]byte, rapid.SampledFrom([]int{1, 100, 4096, 65536, 65537, 300000, 1 << 20, 3 << 20}).Draw(rt, "length"))
				got, err := o.Body.ReadAt(p, off)
				from := min(off, o.Size)
				plain := body[from:min(from+int64(len(p)), o.Size)]
				if !bytes.Equal(p[:got], plain) || (err == io.EOF) != (off+int64(len(p)) > o.Size) || err != nil && err != io.EOF {
					rt.Fatalf("%d bytes at %d: %d came, %v", len(p), off, got, err)
				}
				if rapid.Bool().Draw(rt, "goes on") {
					off += int64(got)
				} else {
					off = rapid.Int64Range(0, o.Size+10).Draw(rt, "offset")
				}
			}
		})
	}
}

// TestRangeTouchesOnlyItsUnits: a short range of a long object moves one unit.
func TestRangeTouchesOnlyItsUnits(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(3, 8<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	rec := nodes[0].s.table.Now().Get("bucket", "k")
	reader := c.nodes[rec.Nodes[3]] // has a parity only
	o, err := reader.s.Open(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	before := c.got.Load()
	p := make([]byte, 1000)
	for i := range 8 {
		off := int64(i)<<20 + 70000
		if _, err := o.Body.ReadAt(p, off); err != nil || !bytes.Equal(p, body[off:off+1000]) {
			t.Fatalf("range at %d: %v", off, err)
		}
	}
	if n := c.got.Load() - before; n > 8*(array.DefaultUnit+100) {
		t.Errorf("8 ranges within a unit moved %d bytes", n)
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
	want := map[*node][]byte{}
	r := rand.New(rand.NewPCG(1, 2))
	blocks := int64(320)
	lost := map[int64]int{}
	flips := 0
	for _, n := range nodes {
		b, err := os.ReadFile(n.path("k", 0))
		if err != nil {
			t.Fatal(err)
		}
		want[n] = b
		bad := bytes.Clone(b)
		for range 150 {
			block := r.Int64N(blocks)
			if lost[block] == 2 { // more would be more than the code promises
				continue
			}
			lost[block]++
			at := block*(array.DefaultUnit+4) + r.Int64N(array.DefaultUnit+4)
			bad[at] ^= 1 << r.IntN(8)
			flips++
		}
		if err := os.WriteFile(n.path("k", 0), bad, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if flips < 300 {
		t.Fatalf("only %d flips", flips)
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
}

// TestFrozenNodeCostsAHedge: reads with a frozen node neither fail nor wait for
// its time-out, and soon no longer ask it.
func TestFrozenNodeCostsAHedge(t *testing.T) {
	c := startCluster(&cluster{t: t, stall: time.Minute}, 4) // a time-out would show
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(5, 1<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	nodes[2].mu.Lock()
	nodes[2].frozen = true
	nodes[2].mu.Unlock()
	for i := range 60 {
		c.forget()
		if !bytes.Equal(readAll(t, nodes[i%2], "k"), body) {
			t.Fatal("other bytes")
		}
	}
	for _, n := range nodes[:2] {
		if h := n.s.Status().Hedges; h > 15 {
			t.Errorf("%s: %d hedges in 30 reads: it does not learn", n.id, h)
		}
	}
}

func TestNodeDiesMidRead(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(6, 24<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	o, err := nodes[0].s.Open(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	var got bytes.Buffer
	r := &pausingReader{r: io.NewSectionReader(o.Body, 0, o.Size), after: 5 << 20, hook: func() { c.crash(nodes[1]) }}
	if _, err := io.CopyN(&got, r, 12<<20); err != nil {
		t.Fatal(err)
	}
	r.after, r.hook = 1<<20, func() { c.crash(nodes[2]) }
	if _, err := io.Copy(&got, r); err != nil || !bytes.Equal(got.Bytes(), body) {
		t.Fatalf("two nodes died: %d of %d bytes, %v", got.Len(), len(body), err)
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

func TestHotObjectsBecomeFiles(t *testing.T) {
	c := newCluster(t, 4)
	n := c.all()[1]
	mustBucket(t, n, "bucket")
	bodies := [][]byte{randomBody(8, 3<<20), randomBody(9, 3<<20), randomBody(10, 3<<20)}
	open := func(key string) (io.Closer, *os.File) {
		t.Helper()
		o, err := n.s.Open(t.Context(), "bucket", key)
		if err != nil {
			t.Fatal(err)
		}
		return o.Body, o.Body.File()
	}
	for i, b := range bodies {
		key := fmt.Sprint(i)
		mustPut(t, n, key, b, PutOptions{})
		eventually(t, "it is a file", func() bool {
			o, f := open(key)
			defer o.Close()
			if f == nil {
				return false
			}
			got, err := io.ReadAll(io.NewSectionReader(f, 0, 4<<20))
			return err == nil && bytes.Equal(got, b)
		})
	}
	keep, f := open("2")
	defer keep.Close()
	n.s.decoded.mu.Lock()
	n.s.decoded.limit = 1
	for n.s.decoded.used > n.s.decoded.limit {
		n.s.dropDecoded(n.s.decoded.order.Back())
	}
	n.s.decoded.mu.Unlock()
	if list, err := os.ReadDir(filepath.Join(n.dir, "decoded")); err != nil || len(list) != 0 {
		t.Errorf("%d files stay, %v", len(list), err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(f, 0, 4<<20)); err != nil || !bytes.Equal(got, bodies[2]) {
		t.Errorf("an open file changed: %v", err)
	}
	if o, f := open("2"); f != nil {
		t.Error("a dropped file is served")
		o.Close()
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
	if _, err := n.s.CreateBucketCode(t.Context(), "wide", Code{N: 9, K: 5}); err != nil {
		t.Fatal(err)
	}
	_, _, err := n.s.Put(t.Context(), "wide", "k", bytes.NewReader(body), PutOptions{})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("code wider than the cluster: %v", err)
	}
	if _, err := n.s.CreateBucketCode(t.Context(), "bad", Code{N: 2, K: 3}); !errors.Is(err, ErrBadName) {
		t.Errorf("k above n: %v", err)
	}
}

// TestManyReadersOfOneObject share windows and do not disturb each other.
func TestManyReadersOfOneObject(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(12, 10<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	o, err := nodes[1].s.Open(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	before := c.got.Load()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			got, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if err := o.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if n := c.got.Load() - before; n > 3*int64(len(body)) {
		t.Errorf("10 readers of %d bytes moved %d", len(body), n)
	}
}

func TestSpeeds(t *testing.T) {
	s := newSpeeds()
	for i := range 100 {
		s.begin(1)
		s.end(1, time.Duration(1+i%20)*time.Millisecond, 0)
		s.begin(2)
		s.end(2, 10*time.Millisecond, quantum)
	}
	if h := s.hedge(0); h < 10*time.Millisecond || h > 25*time.Millisecond {
		t.Errorf("hedge after %v", h)
	}
	if a, b := s.hedge(0), s.hedge(3*quantum); b <= a || b > maxHedge {
		t.Errorf("hedge of more bytes: %v, %v", a, b)
	}
	s.late(2)
	if s.cost(2) < 100*s.cost(1) {
		t.Errorf("late member costs %v, the other %v", s.cost(2), s.cost(1))
	}
	s.begin(2)
	s.end(2, time.Millisecond, 0)
	if s.cost(2) > 10*time.Millisecond {
		t.Errorf("it is back and costs %v", s.cost(2))
	}
	s.keep(func(id ring.NodeID) bool { return id == 1 })
	if ids := slices.Collect(func(yield func(ring.NodeID) bool) {
		for id := range s.nodes {
			yield(id)
		}
	}); len(ids) != 1 {
		t.Errorf("kept %v", ids)
	}
}
