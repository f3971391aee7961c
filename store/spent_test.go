package store

import (
	"bytes"
	"os"
	"sync"
	"testing"
	"time"
)

// spentLab is three nodes with a clock by hand.
type spentLab struct {
	*cluster
	t     *testing.T
	nodes []*node
	mu    sync.Mutex
	now   time.Time
}

func newSpentLab(t *testing.T) *spentLab {
	l := &spentLab{t: t, now: time.Now()}
	clock := func() time.Time { l.mu.Lock(); defer l.mu.Unlock(); return l.now }
	l.cluster = startCluster(&cluster{t: t, stall: time.Second, now: clock}, 3)
	l.nodes = l.all()
	mustBucket(t, l.nodes[0], "bucket")
	return l
}

// later lets time pass and counts on how many nodes the file is there.
func (l *spentLab) later(d time.Duration, files []string) (there int) {
	l.mu.Lock()
	l.now = l.now.Add(d)
	l.mu.Unlock()
	for i, n := range l.nodes {
		_ = n.s.removeSpent(l.t.Context()) // that some cannot be asked is a case
		if _, err := os.Stat(files[i]); err == nil {
			there++
		}
	}
	return there
}

func (l *spentLab) files(key string) (out []string) {
	for _, n := range l.nodes {
		out = append(out, n.path(key, 0))
	}
	return out
}

func (l *spentLab) delete(key string) {
	l.t.Helper()
	if err := l.nodes[0].s.Delete(l.t.Context(), "bucket", key, ""); err != nil {
		l.t.Fatal(err)
	}
}

func TestSpentGoSoon(t *testing.T) {
	for _, size := range []int{1000, 300 << 10} {
		l := newSpentLab(t)
		mustPut(t, l.nodes[0], "k", randomBody(1, size), PutOptions{})
		old := l.files("k")
		mustPut(t, l.nodes[1], "k", randomBody(2, size), PutOptions{})
		young := l.files("k")
		if n := l.later(spentGrace-time.Millisecond, old); n != 3 {
			t.Errorf("%d bytes: before its time the replaced body is on %d of 3 nodes", size, n)
		}
		if n := l.later(time.Second, old); n != 0 {
			t.Errorf("%d bytes: the replaced body stays on %d nodes", size, n)
		}
		if n := l.later(time.Hour, young); n != 3 {
			t.Errorf("%d bytes: the new body is on %d of 3 nodes", size, n)
		}
		if got := readAll(t, l.nodes[2], "k"); !bytes.Equal(got, randomBody(2, size)) {
			t.Errorf("%d bytes: the new body is not what was put", size)
		}
	}
}

func TestSpentStays(t *testing.T) {
	const size = 300 << 10
	body := randomBody(1, size)
	for what, hold := range map[string]func(l *spentLab) (release func()){
		"while a node has it open": func(l *spentLab) func() {
			o, err := l.nodes[2].s.Open(t.Context(), "bucket", "k")
			if err != nil {
				t.Fatal(err)
			}
			l.delete("k")
			return func() { _ = o.Body.Close() }
		},
		"while a client reads its symbols": func(l *spentLab) func() {
			p, err := l.nodes[0].s.Plan("bucket", "k")
			if err != nil {
				t.Fatal(err)
			}
			for column, id := range p.Nodes {
				if id == l.nodes[1].id {
					f, _, err := l.nodes[1].s.SymbolFile(p.Body, 0, column)
					if err != nil {
						t.Fatal(err)
					}
					_ = f.Close()
				}
			}
			l.delete("k")
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.now = l.now.Add(l.nodes[1].s.cfg.OrphanGrace + time.Second)
			}
		},
		"while a node is away": func(l *spentLab) func() {
			l.setView(l.view[:2])
			l.delete("k")
			return nil
		},
		"while an effect that names it runs": func(l *spentLab) func() {
			sum := l.nodes[0].s.table.Now().Get("bucket", "k").Sum
			running := true
			for _, n := range l.nodes {
				n.s.opsUnderWay = func(yield func([]byte)) {
					if running {
						yield(append([]byte("op "), sum[:]...))
					}
				}
			}
			l.delete("k")
			return func() { running = false }
		},
		"if another put counted on it": func(l *spentLab) func() {
			p, err := l.nodes[1].s.PreparePut(t.Context(), "bucket", "other", bytes.NewReader(body), PutOptions{})
			if err != nil || p.rec.Size != size {
				t.Fatal(err)
			}
			l.delete("k")
			return nil
		},
		"if the catalog came anew": func(l *spentLab) func() {
			l.delete("k")
			for _, n := range l.nodes {
				n.s.bodies.mu.Lock()
				n.s.bodies.reset()
				n.s.bodies.mu.Unlock()
			}
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newSpentLab(t)
			mustPut(t, l.nodes[0], "k", body, PutOptions{})
			files := l.files("k")
			release := hold(l)
			if n := l.later(time.Minute, files); n != 3 {
				t.Fatalf("it is on %d of 3 nodes", n)
			}
			if release == nil {
				return
			}
			release()
			if n := l.later(time.Minute, files); n != 0 {
				t.Errorf("released, and it stays on %d nodes", n)
			}
		})
	}
}
