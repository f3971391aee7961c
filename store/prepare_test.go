package store

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/store/catalog"
)

// finish brings a prepared op to the token at another member.
func finish(t *testing.T, n *node, p *Prepared) (uint64, bool, error) {
	t.Helper()
	res, err := n.s.ring.Propose(t.Context(), p.Op)
	if err != nil {
		t.Fatal(err)
	}
	return Result(res)
}

// What was prepared here may be finished by another member: the body is there.
func TestPreparePut(t *testing.T) {
	c := newCluster(t, 3)
	a, b := c.all()[0], c.all()[1]
	mustBucket(t, a, "bucket")
	p, err := a.s.PreparePut(t.Context(), "bucket", "k", strings.NewReader("body"), PutOptions{IfAbsent: true, ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Info.Size != 4 || p.Info.Key != "k" || p.Info.Version != 0 || p.Info.ETag == "" || p.Info.Stored != 3 {
		t.Errorf("info %+v", p.Info)
	}
	if _, err := b.s.Stat("bucket", "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is there before its op: %v", err)
	}
	c.kill(a)
	version, created, err := finish(t, b, p)
	if err != nil || !created {
		t.Fatalf("finished: %d %v %v", version, created, err)
	}
	if info, err := b.s.Stat("bucket", "k"); err != nil || info.Version != version || info.ETag != p.Info.ETag || string(readAll(t, b, "k")) != "body" {
		t.Errorf("finished as %+v, %v", info, err)
	}
	if _, _, err := finish(t, b, p); !errors.Is(err, ErrPrecondition) {
		t.Errorf("a second time: %v", err)
	}
	// The condition is judged by the op alone.
	if _, err := b.s.PreparePut(t.Context(), "bucket", "k", strings.NewReader("x"), PutOptions{IfAbsent: true}); err != nil {
		t.Errorf("a condition that does not hold now: %v", err)
	}
	if _, err := b.s.PreparePut(t.Context(), "none", "k", strings.NewReader("x"), PutOptions{}); !errors.Is(err, ErrNoBucket) {
		t.Errorf("no bucket: %v", err)
	}
}

func TestPrepareAppendAndDelete(t *testing.T) {
	n := newCluster(t, 1).all()[0]
	mustBucket(t, n, "bucket")
	mustPut(t, n, "k", []byte("body"), PutOptions{})
	add, err := n.s.PrepareAppend(t.Context(), "bucket", "log/", strings.NewReader("line"), PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var versions []uint64
	for range 2 {
		version, created, err := finish(t, n, add)
		if err != nil || !created {
			t.Fatalf("appended: %v %v", created, err)
		}
		versions = append(versions, version)
		if string(readAll(t, n, catalog.AppendedKey("log/", version))) != "line" {
			t.Error("the appended object is another one")
		}
	}
	page, more := n.s.ListBack("bucket", "", 2)
	if len(page) != 2 || page[0].Version != versions[1] || !more || n.s.Count("bucket") != 3 || n.s.Catalog().Index() != versions[1] {
		t.Errorf("backwards: %+v %v, %d objects, applied %d", page, more, n.s.Count("bucket"), n.s.Catalog().Index())
	}
	del, err := n.s.PrepareDelete("bucket", "k", `"other"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := finish(t, n, del); !errors.Is(err, ErrPrecondition) {
		t.Errorf("a delete of another version: %v", err)
	}
	if del, err = n.s.PrepareDelete("bucket", "k", ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := finish(t, n, del); err != nil {
		t.Errorf("deleted: %v", err)
	}
	if _, err := n.s.Stat("bucket", "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the delete: %v", err)
	}
}

// A body that an effect under way may yet put stays, however long that takes.
func TestHoldOrphans(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	c := startCluster(&cluster{t: t, stall: time.Second, now: clock}, 1)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	began := now
	running := true
	n.s.HoldOrphans(func() time.Time {
		if running {
			return began
		}
		return time.Time{}
	})
	p, err := n.s.PreparePut(t.Context(), "bucket", "k", strings.NewReader("body"), PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var guard orphanGuard
	later := func(d time.Duration) bool {
		mu.Lock()
		now = now.Add(d)
		mu.Unlock()
		n.s.removeOrphans(t.Context(), &guard)
		_, err := os.Stat(n.s.disk.path(p.rec.Sum))
		return err == nil
	}
	later(0)
	if !later(24 * time.Hour) {
		t.Fatal("the body of an effect under way is gone")
	}
	running = false
	if later(time.Second) {
		t.Error("the body of an effect that is over stays")
	}
}
