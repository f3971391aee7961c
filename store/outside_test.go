package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"rain/ring"
)

// TestReadsFromOutsideTheView: who was left out of the view, but is up, serves
// its columns and small bodies on.
func TestReadsFromOutsideTheView(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body, small := randomBody(1, 3<<20+17), randomBody(2, 1000)
	mustPut(t, nodes[0], "k", body, PutOptions{})
	mustPut(t, nodes[0], "small", small, PutOptions{})
	c.forget()
	c.kill(nodes[3])
	c.leave(nodes[1])
	c.leave(nodes[2])
	if got := c.all(); len(got) != 1 || got[0] != nodes[0] {
		t.Fatal("the view should hold one node")
	}
	if !bytes.Equal(readAll(t, nodes[0], "k"), body) {
		t.Error("the striped body reads otherwise")
	}
	nodes[0].s.cache = newCache(1 << 20)
	if err := os.Remove(nodes[0].path("small", 0)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readAll(t, nodes[0], "small"), small) {
		t.Error("the small body reads otherwise")
	}
	// With the others gone indeed, it is refused.
	c.crash(nodes[1])
	c.crash(nodes[2])
	c.forget()
	nodes[0].s.outside = outside{} // what they said is forgotten in time
	if _, err := nodes[0].s.Open(t.Context(), "bucket", "k"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("open with one symbol of two: %v", err)
	}
}

// TestPutWaitsForTheRing: a put that comes in a moment without a lease is not
// refused at once.
func TestPutWaitsForTheRing(t *testing.T) {
	c := newCluster(t, 3)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	lonely := func(is bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.lonely = is
	}
	lonely(true)
	done := make(chan error, 1)
	go func() {
		_, _, err := n.s.Put(context.Background(), "bucket", "k", bytes.NewReader(randomBody(1, 100<<10)), PutOptions{})
		done <- err
	}()
	time.Sleep(5 * viewPoll)
	lonely(false)
	if err := <-done; err != nil {
		t.Errorf("put: %v", err)
	}
	lonely(true)
	if _, _, err := n.s.Put(context.Background(), "bucket", "k", bytes.NewReader([]byte("x")), PutOptions{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, ring.ErrNotPrimary) {
		t.Errorf("put without the ring: %v", err)
	}
}
