package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
)

func TestMemberDiesMidPut(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(1, 8<<20)
	r := &pausingReader{r: bytes.NewReader(body), after: 4 << 20, hook: func() { c.crash(nodes[3]) }}
	info, _, err := nodes[0].s.Put(t.Context(), "bucket", "film", r, PutOptions{})
	if err != nil || info.Stored != 3 {
		t.Fatalf("put with a dead member: stored %d, %v", info.Stored, err)
	}
	c.kill(nodes[3])
	for _, n := range nodes[:3] {
		if !bytes.Equal(readAll(t, n, "film"), body) {
			t.Fatalf("%s reads other bytes", n.id)
		}
	}
	noLeftovers(t, nodes[0])

	// It returns with its disk and gets exactly what it lacks.
	c.start(nodes[3])
	eventually(t, "the returned node has the body", func() bool { return nodes[3].s.Missing() == 0 })
	rec := nodes[3].s.table.Now().Get("bucket", "film")
	if got, want := nodes[3].s.Status().RepairedBytes, symbol.FileLen(layoutOf(rec), 0); got != want {
		t.Errorf("%d bytes were written; %d were lacking", got, want)
	}
	if !bytes.Equal(readAll(t, nodes[3], "film"), body) {
		t.Fatal("the returned node reads other bytes")
	}
	eventually(t, "four copies are known", func() bool {
		st, err := nodes[1].s.Stat("bucket", "film")
		return err == nil && st.Stored == 4
	})
	if data, known := nodes[1].s.Tolerance(); data != 2 || !known {
		t.Errorf("tolerance %d, %v", data, known)
	}
}

func TestFrozenMemberIsLeftOut(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	nodes[2].mu.Lock()
	nodes[2].frozen = true
	nodes[2].mu.Unlock()
	for _, size := range []int{100, 3 << 20} {
		key := fmt.Sprint(size)
		if info := mustPut(t, nodes[0], key, randomBody(2, size), PutOptions{}); info.Stored != 2 {
			t.Errorf("size %d: stored on %d", size, info.Stored)
		}
	}
	// The frozen one has the names and not the bodies; others may still read,
	// and it gets them by itself.
	nodes[2].mu.Lock()
	nodes[2].frozen = false
	nodes[2].mu.Unlock()
	if got := readAll(t, nodes[2], "100"); !bytes.Equal(got, randomBody(2, 100)) {
		t.Error("other bytes on the member that was left out")
	}
	eventually(t, "repair", func() bool { return nodes[2].s.Missing() == 0 })
}

func TestDamagedBodyIsFetchedAgain(t *testing.T) {
	for _, size := range []int{1000, 300 << 10, 5 << 20} {
		for _, how := range []string{"flip", "cut", "gone"} {
			t.Run(fmt.Sprintf("%d/%s", size, how), func(t *testing.T) {
				c := newCluster(t, 2)
				nodes := c.all()
				mustBucket(t, nodes[0], "bucket")
				body := randomBody(5, size)
				mustPut(t, nodes[0], "k", body, PutOptions{})
				victim := nodes[1]
				path := victim.path("k", 0)
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				c.kill(victim)
				damage(t, path, how)
				c.start(victim)
				if !bytes.Equal(readAll(t, victim, "k"), body) {
					t.Fatal("damaged bytes were served")
				}
				if size > 1<<20 { // the damage is beyond what was read, or in a column that was not
					if _, err := victim.s.Scrub(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, "a good copy is back on disk", func() bool {
					b, err := os.ReadFile(path)
					return err == nil && bytes.Equal(b, whole) && victim.s.Missing() == 0
				})
				if !bytes.Equal(readAll(t, victim, "k"), body) {
					t.Fatal("damaged bytes were served after the repair")
				}
				// A file that was gone at the start was never known as a copy.
				if n := victim.s.Status().ChecksumFailures; n == 0 && how == "flip" {
					t.Error("the damage was not counted")
				}
				if bad, err := victim.s.Scrub(t.Context()); bad != 0 || err != nil {
					t.Errorf("scrub after the repair: %d bad, %v", bad, err)
				}
			})
		}
	}
}

func damage(t *testing.T, path, how string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case "flip":
		b[len(b)/2] ^= 1
		err = os.WriteFile(path, b, 0o600)
	case "cut":
		err = os.WriteFile(path, b[:len(b)-1], 0o600)
	case "gone":
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// putWhole makes an object as versions before the stripes did: whole on every
// member.
func putWhole(t *testing.T, c *cluster, key string, body []byte) Info {
	t.Helper()
	sum := catalog.Sum(sumOf(body))
	nodes := c.all()
	for _, n := range nodes {
		if err := n.s.saveBytes(sum, body); err != nil {
			t.Fatal(err)
		}
	}
	op, err := catalog.EncodePut("bucket", key, catalog.Cond{}, catalog.Record{Sum: sum, Size: int64(len(body)), N: uint16(len(nodes)), K: 1})
	if err == nil {
		_, err = nodes[0].s.propose(t.Context(), op)
	}
	if err != nil {
		t.Fatal(err)
	}
	st, err := nodes[0].s.Stat("bucket", key)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestGiverFindsItsOwnDamage(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(6, 2<<20)
	info := putWhole(t, c, "k", body)
	for _, n := range nodes[:2] {
		damage(t, filepath.Join(n.dir, "objects", info.SHA256[:2], info.SHA256), "flip")
	}
	c.kill(nodes[2])
	damage(t, filepath.Join(nodes[2].dir, "objects", info.SHA256[:2], info.SHA256), "gone")
	// Both givers are bad: the taker must take neither.
	c.start(nodes[2])
	if _, err := nodes[2].s.Open(t.Context(), "bucket", "k"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("open with two damaged copies: %v", err)
	}
	for _, n := range nodes[:2] {
		// The giver notes it after it has broken off, so the taker may be ahead.
		eventually(t, n.id.String()+" knows of its bad copy", func() bool { return n.s.Status().ChecksumFailures > 0 })
	}
	// A put of the same body brings it back everywhere.
	mustPut(t, nodes[1], "k", body, PutOptions{})
	for _, n := range nodes {
		if !bytes.Equal(readAll(t, n, "k"), body) {
			t.Errorf("%s reads other bytes", n.id)
		}
	}
}

func TestJoinerGetsEverything(t *testing.T) {
	c := newCluster(t, 2)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	for i := range 40 {
		mustPut(t, nodes[i%2], fmt.Sprint(i), randomBody(uint64(i), i*9000), PutOptions{})
	}
	n := c.add(0x00010009)
	eventually(t, "the joiner has all bodies", func() bool { return n.s.Missing() == 0 })
	for i := range 40 {
		if !bytes.Equal(readAll(t, n, fmt.Sprint(i)), randomBody(uint64(i), i*9000)) {
			t.Fatalf("object %d differs on the joiner", i)
		}
	}
	var a, b bytes.Buffer
	if err := errors.Join(n.rider.Snapshot(&a), nodes[0].rider.Snapshot(&b)); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("snapshots differ: %d and %d bytes, %v", a.Len(), b.Len(), err)
	}
}

func TestOrphans(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	c := startCluster(&cluster{t: t, stall: time.Second, now: clock}, 1)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	var guard orphanGuard
	later := func(d time.Duration) {
		mu.Lock()
		now = now.Add(d)
		mu.Unlock()
		n.s.removeOrphans(t.Context(), &guard)
	}
	later(0)
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	mustPut(t, n, "a", randomBody(1, 100<<10), PutOptions{})
	a, name := n.path("a", 0), n.s.table.Now().Get("bucket", "a").Body
	mustPut(t, n, "same", randomBody(1, 100<<10), PutOptions{})
	o, err := n.s.Open(t.Context(), "bucket", "a")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	mustPut(t, n, "a", []byte("b"), PutOptions{})
	b := n.path("a", 0)
	later(2 * time.Hour)
	if !exists(a) || !exists(b) {
		t.Fatal("a body that an object refers to is gone")
	}
	if err := n.s.Delete(t.Context(), "bucket", "same", ""); err != nil {
		t.Fatal(err)
	}
	later(50 * time.Minute)
	if !exists(a) {
		t.Fatal("an orphan went before its grace was over")
	}
	if !n.s.present(name, symbol.FileLen(array.Layout{Geometry: array.Auto(1), Size: 100 << 10}, 0)) {
		t.Fatal("the orphan is not known any more")
	}
	later(50 * time.Minute)
	if !exists(a) {
		t.Fatal("a put had just asked for it")
	}
	got, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
	if err != nil || !bytes.Equal(got, randomBody(1, 100<<10)) {
		t.Errorf("the open object is not readable any more: %v", err)
	}
	later(50 * time.Minute)
	if !exists(a) {
		t.Fatal("a reader had just asked for it")
	}
	later(20 * time.Hour)
	if !exists(a) {
		t.Fatal("a body that is open was collected")
	}
	if err := o.Body.Close(); err != nil {
		t.Fatal(err)
	}
	later(time.Second)
	if exists(a) || !exists(b) {
		t.Fatalf("after the grace: orphan there %v, needed body there %v", exists(a), exists(b))
	}
}

func TestOrphansStayWithoutQuorum(t *testing.T) {
	var g orphanGuard
	t0 := time.Unix(1e9, 0)
	for i, step := range []struct {
		at    time.Duration
		ready bool
		want  bool
	}{
		{0, false, false}, {10 * time.Hour, false, false}, {10 * time.Hour, true, false},
		{10*time.Hour + 59*time.Minute, true, false}, {11 * time.Hour, true, true},
		{11*time.Hour + time.Second, false, false}, {11*time.Hour + 2*time.Second, true, false},
		{12*time.Hour + 2*time.Second, true, true},
	} {
		if got := g.mayRemove(t0.Add(step.at), step.ready, time.Hour); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestRestart(t *testing.T) {
	c := newCluster(t, 2)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	info := mustPut(t, nodes[0], "k", []byte("body"), PutOptions{})
	c.kill(nodes[1])
	stray := filepath.Join(nodes[1].dir, "objects", info.SHA256[:2], "notes.txt")
	for _, f := range []string{filepath.Join(nodes[1].dir, "tmp", "17"), stray} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.start(nodes[1])
	noLeftovers(t, nodes[1])
	if _, err := os.Stat(stray); err != nil {
		t.Errorf("a file that is no body was touched: %v", err)
	}
	if got := readAll(t, nodes[1], "k"); string(got) != "body" {
		t.Errorf("after the restart: %q", got)
	}
	if st := nodes[1].s.Status(); st.RepairedBytes != 0 || st.Missing != 0 || st.Objects != 1 || st.StoredBytes != 4 {
		t.Errorf("a body that was there was fetched: %+v", st)
	}
}

func TestTooFewMembers(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	c.crash(nodes[1])
	c.crash(nodes[2])
	for _, size := range []int{100, 2 << 20} {
		_, _, err := nodes[0].s.Put(t.Context(), "bucket", "k", bytes.NewReader(randomBody(3, size)), PutOptions{})
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if _, err := nodes[0].s.Stat("bucket", "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after failed puts: %v", err)
	}
	noLeftovers(t, nodes[0])
}

func TestNoSpace(t *testing.T) {
	c := newCluster(t, 3)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	old := mustPut(t, nodes[0], "k", []byte("old"), PutOptions{})
	check := func(what string, size int, state DiskState) {
		t.Helper()
		_, _, err := nodes[0].s.Put(t.Context(), "bucket", "k", bytes.NewReader(randomBody(4, size)), PutOptions{})
		if !errors.Is(err, ErrNoSpace) {
			t.Errorf("%s: %v", what, err)
		}
		if got := nodes[0].s.Status().Disk; got != state {
			t.Errorf("%s: disk is %q, want %q", what, got, state)
		}
		for _, n := range nodes {
			if st, err := n.s.Stat("bucket", "k"); err != nil || st.ETag != old.ETag {
				t.Errorf("%s: %s shows %+v, %v", what, n.id, st, err)
			}
		}
		noLeftovers(t, nodes[0])
	}
	nodes[0].fs.freeNow.Store(1 << 20)
	check("below the reserve", 10, DiskReserve)
	nodes[0].fs.freeNow.Store(0)
	nodes[0].fs.limited.Store(true)
	check("small, disk full", 1000, DiskFull)
	nodes[0].fs.budget.Store(3 << 20)
	check("large, full half way", 8<<20, DiskFull)
	nodes[0].fs.limited.Store(false)

	// Full members refuse; more than half of them decide.
	nodes[1].fs.freeNow.Store(1)
	if info := mustPut(t, nodes[0], "k", []byte("new"), PutOptions{}); info.Stored != 2 {
		t.Errorf("stored %d with one full member", info.Stored)
	}
	nodes[2].fs.freeNow.Store(1)
	old = mustStat(t, nodes[0])
	if _, _, err := nodes[0].s.Put(t.Context(), "bucket", "k", strings.NewReader("newer"), PutOptions{}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("with two full members: %v", err)
	}
	if got := mustStat(t, nodes[0]); got.Version != old.Version {
		t.Errorf("the refused put shows: %+v", got)
	}
	// A full member serves what it lacks from memory.
	if got := readAll(t, nodes[1], "k"); string(got) != "new" {
		t.Errorf("full member reads %q", got)
	}
}
