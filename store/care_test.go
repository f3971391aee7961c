package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"
)

// What is open on one node is collected on none.
func TestOpenObjectsAreNotCollected(t *testing.T) {
	c, later := clockedCluster(t, 3)
	nodes := c.all()
	body := randomBody(8, 3<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	mustPut(t, nodes[0], "idle", randomBody(9, 100<<10), PutOptions{})
	o, err := nodes[2].s.Open(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"k", "idle"} {
		if err := nodes[0].s.Delete(t.Context(), "bucket", key, ""); err != nil {
			t.Fatal(err)
		}
	}
	later(100 * time.Hour)
	total := func() (n int) {
		list, err := nodes[1].s.Care(t.Context(), CareOrder{Do: CareGC})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if r.Error != "" || r.Kept != "" {
				t.Fatalf("%s: %s%s", r.Node, r.Error, r.Kept)
			}
			n += r.Removed
		}
		return n
	}
	if n := total(); n != 3 {
		t.Errorf("%d pieces collected, want the 3 of the object that nobody reads", n)
	}
	got, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("the open object is not readable any more: %v", err)
	}
	later(2 * time.Minute) // it was read just now
	// A member that does not say what it reads stops the collecting, not more.
	nodes[2].mu.Lock()
	nodes[2].frozen = true
	nodes[2].mu.Unlock()
	if n, _, err := nodes[0].s.gc(contextOf(t, 300*time.Millisecond), 0); n != 0 || err == nil {
		t.Errorf("collected %d without an answer, %v", n, err)
	}
	nodes[2].mu.Lock()
	nodes[2].frozen = false
	nodes[2].mu.Unlock()
	if err := errors.Join(o.Body.Close(), o.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if n := total(); n != 3 {
		t.Errorf("%d pieces collected after the close, want 3", n)
	}
}

// Who reads a deleted object whose columns have moved finds them.
func TestOpenObjectMovesAndGoes(t *testing.T) {
	c, later := clockedCluster(t, 5)
	nodes := c.all()
	if err := nodes[0].s.RemoveStorage(t.Context(), nodes[4].id); err != nil {
		t.Fatal(err)
	}
	body := randomBody(5, 3<<20)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	o, err := nodes[0].s.Open(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	heir := nodes[4]
	if err := nodes[0].s.ReplaceStorage(t.Context(), nodes[1].id, heir.id); err != nil {
		t.Fatal(err)
	}
	settledMoves(t, c, "the column has moved", func() bool { return nodes[0].rec("k").Column(heir.id) >= 0 })
	later(2 * time.Hour)
	if _, _, err := nodes[1].s.gc(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	c.kill(nodes[2])
	c.kill(nodes[3]) // two of four are left: one is the heir
	if err := nodes[0].s.Delete(t.Context(), "bucket", "k", ""); err != nil {
		t.Fatal(err)
	}
	later(2 * time.Hour)
	for _, n := range c.all() {
		if _, _, err := n.s.gc(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("the open object is not readable any more: %v", err)
	}
}

// A put that has not reached the catalog yet is safe from an impatient operator.
func TestCollectSparesPutsUnderWay(t *testing.T) {
	c, later := clockedCluster(t, 1)
	n := c.all()[0]
	mustPut(t, n, "k", randomBody(1, 100<<10), PutOptions{})
	if err := n.s.Delete(t.Context(), "bucket", "k", ""); err != nil {
		t.Fatal(err)
	}
	later(time.Second)
	if removed, _, err := n.s.gc(t.Context(), 0); removed != 0 || err != nil {
		t.Errorf("a symbol written a second ago was collected: %d, %v", removed, err)
	}
	later(2 * time.Minute)
	if removed, size, err := n.s.gc(t.Context(), 0); removed != 1 || size < 100<<10 || err != nil {
		t.Errorf("collected %d with %d bytes, %v", removed, size, err)
	}
}

func TestCheckAndRepairEverywhere(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	for i := range 6 {
		mustPut(t, nodes[i%4], fmt.Sprint(i), randomBody(uint64(i), 200<<10), PutOptions{})
	}
	for i, n := range nodes[:3] {
		damage(t, n.path(fmt.Sprint(i), 0), "flip")
	}
	var list []NodeCare
	ask := func(do string) {
		var err error
		if list, err = nodes[3].s.Care(t.Context(), CareOrder{Do: do}); err != nil || len(list) != 4 {
			t.Fatalf("%d answers, %v", len(list), err)
		}
	}
	ask(CareCheck)
	eventually(t, "the check is done and all is whole", func() bool {
		ask(CareStatus)
		return !slices.ContainsFunc(list, func(r NodeCare) bool { return r.Check == nil || r.Check.Running || r.Missing > 0 })
	})
	for i, r := range list {
		want := CheckReport{Pieces: 6, Bytes: r.Bytes, Bad: 1}
		if i == 3 {
			want.Bad = 0
		}
		if got := *r.Check; got.Pieces != want.Pieces || got.Bytes != want.Bytes || got.Bad != want.Bad || got.Error != "" {
			t.Errorf("%s: check %+v, want %+v", r.Node, got, want)
		}
		if (r.RepairedBytes > 0) != (want.Bad > 0) {
			t.Errorf("%s: %d bytes repaired", r.Node, r.RepairedBytes)
		}
	}
	c.crash(nodes[1])
	ask(CareRepair)
	if list[1].Error == "" || list[0].Error != "" {
		t.Errorf("a dead node's answer: %+v", list[1])
	}
	c.kill(nodes[1])
	ask(CareStatus)
	if list[1].ID != nodes[1].id || list[1].Error == "" {
		t.Errorf("a storage node that is away: %+v", list[1])
	}
	if _, err := nodes[0].s.Care(t.Context(), CareOrder{Do: "burn"}); !errors.Is(err, errWire) {
		t.Errorf("an order that is none: %v", err)
	}
}

func TestRewriteInTheBackground(t *testing.T) {
	c := newCluster(t, 3)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	mustPut(t, n, "k", randomBody(1, 200<<10), PutOptions{})
	c.add(0x00010009)
	if err := n.s.StartRewrite("nowhere"); !errors.Is(err, ErrNoBucket) {
		t.Errorf("a bucket that is not there: %v", err)
	}
	if err := n.s.StartRewrite("bucket"); err != nil {
		t.Fatal(err)
	}
	var r CareReport
	eventually(t, "it is done", func() bool {
		r = CareReport{}
		n.s.describe(&r)
		return r.Rewrite != nil && !r.Rewrite.Running
	})
	if r.Rewrite.Objects != 1 || r.Rewrite.Error != "" || r.Rewrite.Bucket != "bucket" || n.rec("k").N != 4 {
		t.Errorf("rewritten: %+v, n=%d", r.Rewrite, n.rec("k").N)
	}
}

func FuzzCareFrames(f *testing.F) {
	good, err := appendFrame(nil, CareOrder{Do: CareGC, GraceMS: 5})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var o CareOrder
		if readFrame(bytes.NewReader(b), maxCareOrder, &o) != nil || o.check() != nil {
			return
		}
		again, err := appendFrame(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		var back CareOrder
		if err := readFrame(bytes.NewReader(again), maxCareOrder, &back); err != nil || back != o {
			t.Fatalf("%+v became %+v, %v", o, back, err)
		}
	})
}

func contextOf(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
