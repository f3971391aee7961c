package effect_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rain/ring"
	"rain/snow/effect"
	"rain/snow/effect/effecttest"
	"rain/snow/queue"
	"rain/store"
	"rain/store/catalog"
)

const bucket = "book"

// appendEffect puts the input, an op of the catalog's, into effect.
type appendEffect struct{}

func (appendEffect) Name() string { return "append" }

func (appendEffect) Run(input []byte) (effect.Action, error) {
	if len(input) < 2 {
		return effect.Action{}, errors.New("no input")
	}
	return effect.Action{Rider: ring.RiderCatalog, Op: input, Note: []byte("noted")}, nil
}

func (appendEffect) Answer(note, result []byte) (effect.Response, error) {
	version, _, err := store.Result(result)
	return effect.Response{Status: 201, Body: fmt.Appendf(nil, "%s %d", note, version)}, err
}

// node is a node of the test's cluster.
type node struct {
	*effect.Service
	l    *effecttest.Ledger
	stop func()
}

func config() effect.Config {
	cfg := effect.DefaultConfig()
	cfg.LeaseWait, cfg.ClaimEvery = 20*time.Millisecond, time.Millisecond
	return cfg
}

func start(t *testing.T, c *effecttest.Cluster, i int, known ...effect.Effect) *node {
	t.Helper()
	l := c.Node(i)
	s, err := effect.New(config(), l, append(known, appendEffect{}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	n := &node{s, l, sync.OnceFunc(func() { cancel(); <-done })}
	t.Cleanup(n.stop)
	return n
}

func newCluster(t *testing.T, n int) *effecttest.Cluster {
	t.Helper()
	c := effecttest.New(n)
	if err := c.Bucket(bucket); err != nil {
		t.Fatal(err)
	}
	return c
}

// request is one that appends text.
func request(t *testing.T, key, text string) *effect.Request {
	t.Helper()
	op, err := catalog.EncodeAppend(bucket, "", catalog.Record{Sum: sha256.Sum256([]byte(text)), Size: int64(len(text)), N: 1, K: 1, Meta: map[string]string{"text": text}})
	if err != nil {
		t.Fatal(err)
	}
	var f effect.Fingerprint
	f.Add([]byte(text))
	return &effect.Request{Scope: "s", Key: key, Fingerprint: f.Sum(), Input: op, Method: "POST", Path: "/x"}
}

func (n *node) do(t *testing.T, key, text string) (effect.Outcome, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return n.Do(ctx, appendEffect{}, request(t, key, text), nil)
}

// texts are what is in the book, in its order.
func texts(c *effecttest.Cluster) string {
	var out []string
	c.Catalog().List(bucket, "", "", func(_ string, r *catalog.Record) bool {
		out = append(out, r.Meta["text"])
		return true
	})
	return strings.Join(out, " ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRepeats(t *testing.T) {
	c := newCluster(t, 3)
	a, b := start(t, c, 1), start(t, c, 2)
	first, err := a.do(t, "k", "one")
	if err != nil || first.Replayed || string(first.Note) != "noted" {
		t.Fatalf("the first = %+v, %v", first, err)
	}
	for _, n := range []*node{a, b} {
		again, err := n.do(t, "k", "one")
		if err != nil || !again.Replayed || string(again.Result) != string(first.Result) || again.ID != first.ID {
			t.Errorf("the repeat = %+v, %v, want %+v", again, err, first)
		}
		if _, err := n.do(t, "k", "two"); !errors.Is(err, effect.ErrMismatch) {
			t.Errorf("another text with the key = %v", err)
		}
	}
	other := request(t, "k", "other scope")
	other.Scope = "t"
	if _, err := b.Do(t.Context(), appendEffect{}, other, nil); err != nil {
		t.Errorf("the key in another scope = %v", err)
	}
	for range 2 { // without a key
		if _, err := a.do(t, "", "x"); err != nil {
			t.Error(err)
		}
	}
	if got := texts(c); got != "one other scope x x" {
		t.Errorf("the book has %q", got)
	}
	if st := a.Stats(); st.Begun != 3 || st.Replayed != 1 || st.Running != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Many ask at once with one key, on one node and on several: one runs.
func TestAtOnce(t *testing.T) {
	c := newCluster(t, 3)
	nodes := []*node{start(t, c, 1), start(t, c, 2), start(t, c, 3)}
	var ran, busy atomic.Int64
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			for {
				o, err := nodes[i%3].do(t, "k", "one")
				switch {
				case errors.Is(err, effect.ErrRunning):
					busy.Add(1)
					time.Sleep(time.Millisecond)
					continue
				case err != nil:
					t.Errorf("unexpected: %v", err)
				case !o.Replayed:
					ran.Add(1)
				}
				return
			}
		})
	}
	wg.Wait()
	if ran.Load() != 1 || texts(c) != "one" {
		t.Errorf("%d ran, the book has %q", ran.Load(), texts(c))
	}
}

// The node dies in each window of a request's way. Whatever its client heard, the
// text is in the book once in the end, or not at all if it never began, and a
// repeat at another node tells the same outcome.
func TestWindows(t *testing.T) {
	dead := errors.New("this node died")
	for _, w := range []struct {
		name          string
		before, after queue.OpKind
		begun         bool
	}{
		{"before begin", queue.OpBegin, 0, false},
		{"after begin", 0, queue.OpBegin, true},
		{"after run", queue.OpFinish, 0, true},
		{"after finish", 0, queue.OpFinish, true},
	} {
		t.Run(w.name, func(t *testing.T) {
			c := newCluster(t, 3)
			a, b := start(t, c, 1), start(t, c, 2)
			start(t, c, 3)
			c.SetNow(100)
			die := func(op *queue.Op, at queue.OpKind) error {
				if op.Kind != at {
					return nil
				}
				a.l.Isolate(true)
				return dead
			}
			a.l.Hook(func(op *queue.Op) error { return die(op, w.before) }, func(op *queue.Op, _ queue.Verdict) error { return die(op, w.after) })
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := a.Do(ctx, appendEffect{}, request(t, "k", "one"), nil); !errors.Is(err, effect.ErrUnknown) {
				t.Fatalf("the dying node said %v, want ErrUnknown", err)
			}
			go a.stop()
			c.Leave(1, 200)
			if w.begun && w.after != queue.OpFinish {
				// The dead node's lease may still run: nothing may act for it.
				time.Sleep(10 * time.Millisecond)
				if got := texts(c); got != "" {
					t.Fatalf("a survivor acted before the dead node's lease was over: %q", got)
				}
				if _, err := b.do(t, "k", "one"); !errors.Is(err, effect.ErrRunning) {
					t.Fatalf("a repeat before the outcome = %v", err)
				}
			}
			c.SetNow(200)
			if w.begun {
				eventually(t, "a survivor finishes it", func() bool { return texts(c) == "one" })
			}
			o, err := b.do(t, "k", "one")
			if err != nil || o.Replayed != w.begun {
				t.Fatalf("the repeat = %+v, %v", o, err)
			}
			time.Sleep(5 * time.Millisecond)
			if got := texts(c); got != "one" {
				t.Errorf("the book has %q", got)
			}
		})
	}
}

// A node that is cut off begins nothing and records nothing; what it began before
// is finished by another, and its own late record changes nothing.
func TestIsolated(t *testing.T) {
	c := newCluster(t, 3)
	a := start(t, c, 1)
	start(t, c, 2)
	a.l.Isolate(true)
	if _, err := a.do(t, "k", "one"); !errors.Is(err, effect.ErrNotNow) {
		t.Fatalf("an isolated node said %v", err)
	}
	a.l.Isolate(false)
	held := make(chan struct{})
	a.l.Hook(func(op *queue.Op) error {
		if op.Kind == queue.OpFinish {
			<-held // frozen with the op in hand
		}
		return nil
	}, nil)
	got := make(chan error, 1)
	go func() {
		_, err := a.do(t, "k", "one")
		got <- err
	}()
	eventually(t, "it begins", func() bool { return c.Node(2).Table().Length() == 1 })
	c.Leave(1, 0)
	eventually(t, "another finishes it", func() bool { return texts(c) == "one" })
	close(held)
	// It has left the view: its ops are void. The service gives up in the end; a
	// client that waits for less hears that the outcome is not known.
	select {
	case err := <-got:
		if !errors.Is(err, effect.ErrUnknown) {
			t.Errorf("the former owner told its client %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("the former owner's client got no answer")
	}
	if texts(c) != "one" {
		t.Errorf("the book has %q", texts(c))
	}
}

// The answer to the begin is lost, the node lives: it finds its own entry.
func TestLostAnswer(t *testing.T) {
	c := newCluster(t, 3)
	a := start(t, c, 1)
	var lost atomic.Bool
	a.l.Hook(nil, func(op *queue.Op, _ queue.Verdict) error {
		if op.Kind == queue.OpBegin && !lost.Swap(true) {
			return fmt.Errorf("%w (%w)", ring.ErrOutcomeUnknown, context.DeadlineExceeded)
		}
		return nil
	})
	if _, err := a.do(t, "k", "one"); !errors.Is(err, effect.ErrUnknown) {
		t.Fatalf("said %v", err)
	}
	eventually(t, "it finishes what it began", func() bool { return texts(c) == "one" })
	if o, err := a.do(t, "k", "one"); err != nil || !o.Replayed {
		t.Errorf("the repeat = %+v, %v", o, err)
	}
}

// The input cannot be run: the entry goes, its key is free again.
func TestBadInput(t *testing.T) {
	c := newCluster(t, 1)
	a := start(t, c, 1)
	bad := request(t, "k", "one")
	bad.Input = []byte{1}
	if _, err := a.Do(t.Context(), appendEffect{}, bad, nil); err == nil || errors.Is(err, effect.ErrUnknown) {
		t.Fatalf("said %v", err)
	}
	if _, err := a.do(t, "k", "one"); err != nil {
		t.Errorf("the key is not free: %v", err)
	}
	long := request(t, "l", "one")
	long.Input = make([]byte, queue.MaxInput+1)
	if _, err := a.Do(t.Context(), appendEffect{}, long, nil); !errors.Is(err, effect.ErrNotNow) {
		t.Errorf("an input that is too long: %v", err)
	}
}

func TestFull(t *testing.T) {
	cfg := config()
	cfg.MaxRunning = 1
	c := newCluster(t, 1)
	s, err := effect.New(cfg, c.Node(1), []effect.Effect{appendEffect{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := s.Do(context.Background(), appendEffect{}, request(t, "k", "one"), func(context.Context, bool) error {
			close(inside)
			<-leave
			return errors.New("refused")
		})
		done <- err
	}()
	<-inside
	if _, err := s.Do(t.Context(), appendEffect{}, request(t, "l", "two"), nil); !errors.Is(err, effect.ErrBusy) {
		t.Errorf("a second one = %v", err)
	}
	close(leave)
	if err := <-done; err == nil || err.Error() != "refused" {
		t.Errorf("prepare's error = %v", err)
	}
	if texts(c) != "" {
		t.Errorf("the book has %q", texts(c))
	}
}
