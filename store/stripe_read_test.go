package store

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rain/ring"
	"rain/store/array"
)

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

// TestFrozenNodeCostsAHedge: in fake time a read with a frozen node takes one
// hedge and not its time-out of an hour, and the next ones do not ask it.
func TestFrozenNodeCostsAHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(&cluster{t: t, stall: time.Hour}, 4)
		nodes := c.all()
		mustBucket(t, nodes[0], "bucket")
		body := randomBody(5, 3<<20)
		mustPut(t, nodes[0], "k", body, PutOptions{})
		for _, n := range nodes {
			n.s.decoded.limit = 0
		}
		nodes[2].mu.Lock()
		nodes[2].frozen = true
		nodes[2].mu.Unlock()
		for _, n := range []*node{nodes[0], nodes[1], nodes[3]} {
			start, slow := time.Now(), 0
			for range 20 {
				c.forget()
				before := time.Now()
				if !bytes.Equal(readAll(t, n, "k"), body) {
					t.Fatal("other bytes")
				}
				took := time.Since(before)
				if took > 2*maxHedge {
					t.Fatalf("%s: a read took %v", n.id, took)
				}
				if took > 0 {
					slow++
				}
			}
			if slow > 1 || time.Since(start) > 2*maxHedge {
				t.Errorf("%s: %d of 20 reads waited, %v in all: it does not learn", n.id, slow, time.Since(start))
			}
		}
		hedges := int64(0)
		for _, n := range nodes {
			hedges += n.s.Status().Hedges
		}
		if hedges == 0 {
			t.Error("nobody asked the frozen node: the test shows nothing")
		}
	})
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
