package snow

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"rain/ring"
	"rain/snow/queue"
)

// fakeQueue is the token of one node: what is proposed is applied at once, unless
// the test says that it gets lost.
type fakeQueue struct {
	mu     sync.Mutex
	rider  *queue.Rider
	index  uint64
	me     atomic.Pointer[ring.Member]
	now    atomic.Int64
	lose   int // so many ops get lost
	unsure int // so many are applied, and their proposer does not hear of it
	ops    int
}

func newFakeQueue() *fakeQueue {
	f := &fakeQueue{rider: queue.NewRider(nil)}
	f.now.Store(int64(time.Hour))
	f.become(1, 2)
	return f
}

// become makes the node another incarnation, beside one more node.
func (f *fakeQueue) become(inc ring.Incarnation, view uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	me := ring.Member{ID: 1, Inc: inc}
	f.me.Store(&me)
	f.index++
	f.rider.View(f.index, ring.View{Number: view, Members: []ring.ViewMember{{Member: me}, {Member: ring.Member{ID: 2, Inc: 1}}}}, 0)
}

func (f *fakeQueue) Self() ring.Member        { return *f.me.Load() }
func (f *fakeQueue) Now() ring.Instant        { return ring.Instant(f.now.Add(int64(sweepEvery))) }
func (f *fakeQueue) LeaseUntil() ring.Instant { return ring.Instant(1 << 62) }
func (f *fakeQueue) Table() *queue.Table      { return f.rider.Table() }
func (f *fakeQueue) Propose(_ context.Context, op []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	if f.lose > 0 {
		f.lose--
		return nil, ring.ErrNotPrimary
	}
	f.index++
	res := f.rider.Apply(f.index, f.Self(), op)
	if f.unsure > 0 {
		f.unsure--
		return nil, ring.ErrOutcomeUnknown
	}
	return res, nil
}

// queueRig is a rig whose server tracks requests.
func queueRig(t testing.TB) (*rig, *fakeQueue) {
	q := newFakeQueue()
	r := newRigWith(t, func(c *Config) { c.NodeHeader = false }, func(d *Deps) { d.Queue = q })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.RunQueue(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r, q
}

func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func running(q *fakeQueue) (out []*queue.Entry) {
	q.Table().Running(func(e *queue.Entry) bool { out = append(out, e); return true })
	return out
}

// slow asks for a file and reads none of it beyond what the kernels take.
func (r *rig) slow(path string) *client {
	r.t.Helper()
	c := r.dial(r.own)
	c.send("GET " + path + " HTTP/1.1\r\nHost: a.test\r\nRange: bytes=5-\r\n\r\n")
	return c
}

var somebody = netip.MustParseAddrPort("192.0.2.1:4711")

const hugeSize = 32 << 20 // more than the kernels take

func hugeRig(t testing.TB) (*rig, *fakeQueue) {
	r, q := queueRig(t)
	files := testSite()
	files["huge.bin"] = files["a.txt"]
	huge := *files["a.txt"]
	huge.Data = []byte(strings.Repeat("0123456789abcdef", hugeSize/16))
	files["huge.bin"] = &huge
	r.publish("a.test", files, true)
	return r, q
}

func TestSlowRequestIsOnTheQueue(t *testing.T) {
	t.Parallel()
	r, q := hugeRig(t)
	c := r.slow("/huge.bin?a=b")
	await(t, "an entry with its response", func() bool { es := running(q); return len(es) == 1 && len(es[0].Head) > 0 })
	e := running(q)[0]
	if e.Method != "GET" || e.Host != "a.test" || e.Path != "/huge.bin?a=b" || e.Range != "bytes=5-" || e.Object.IsZero() ||
		e.Client.String() != c.LocalAddr().String() || e.Owner != q.Self() || e.State != queue.Running {
		t.Fatalf("%+v", e)
	}
	if head := string(e.Head); !strings.HasPrefix(head, "HTTP/1.1 206 ") || !strings.HasSuffix(head, "\r\n\r\n") {
		t.Fatalf("head %q", head)
	}
	if since := time.Since(time.UnixMilli(int64(e.SinceMS))); since < 0 || since > time.Minute {
		t.Fatalf("since %v", since)
	}
	await(t, "an offset", func() bool { return running(q)[0].Offset > 0 })
	before := running(q)[0].Offset
	if _, err := io.CopyN(io.Discard, c.br, hugeSize/2); err != nil {
		t.Fatal(err)
	}
	await(t, "a larger offset", func() bool { return running(q)[0].Offset > before })
	if o := running(q)[0].Offset; o > hugeSize+uint64(len(e.Head)) {
		t.Fatalf("offset %d", o)
	}
	if _, err := io.CopyN(io.Discard, c.br, hugeSize/2-5); err != nil { // and with it the head
		t.Fatal(err)
	}
	await(t, "the end", func() bool { return len(running(q)) == 0 })
	// The connection lives on, and a client that goes ends its request, too.
	c.Close()
	r.slow("/huge.bin").Close()
	d := r.slow("/huge.bin")
	await(t, "an entry", func() bool { return len(running(q)) == 1 })
	d.Close()
	await(t, "its end", func() bool { return len(running(q)) == 0 })
}

// The sweep sees short requests at no time, whatever they are.
func TestShortRequestsAreNot(t *testing.T) {
	t.Parallel()
	r, q := hugeRig(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c := r.dial(r.own)
			for k := range 200 {
				path := []string{"/a.txt", "/mid.bin", "/nothing", "/mounted/x"}[(i+k)%4]
				c.send("GET " + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n")
				c.read("GET")
			}
		})
	}
	wg.Wait()
	await(t, "an empty queue", func() bool { return len(running(q)) == 0 })
	if n := r.server.slots.top.Load(); n > 64 {
		t.Errorf("%d slots for 8 connections", n)
	}
	c := r.slow("/huge.bin")
	await(t, "the entry of a slow one", func() bool { return len(running(q)) == 1 })
	c.Close()
}

// What gets lost, or is applied without its proposer's knowing, is mended.
func TestLostOps(t *testing.T) {
	t.Parallel()
	r, q := hugeRig(t)
	q.mu.Lock()
	q.lose = 3
	q.mu.Unlock()
	c := r.slow("/huge.bin")
	await(t, "an entry", func() bool { return len(running(q)) == 1 })
	q.mu.Lock()
	q.unsure = 2
	q.mu.Unlock()
	d := r.slow("/huge.bin")
	await(t, "two entries", func() bool { return len(running(q)) == 2 })
	c.Close()
	d.Close()
	await(t, "both ends", func() bool { return len(running(q)) == 0 })
	// An entry that no request stands behind: a begin that came to life late.
	late := queue.Op{Kind: queue.OpBatch, Begins: []queue.NewStream{{N: 1 << 40}}}
	b, err := late.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Propose(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	await(t, "its end", func() bool { return len(running(q)) == 0 })
}

// A node that was excluded and is back: its requests go on under its new name,
// the old entries are orphaned by who claims them.
func TestAnotherIncarnation(t *testing.T) {
	t.Parallel()
	r, q := hugeRig(t)
	c := r.slow("/huge.bin")
	await(t, "an entry", func() bool { return len(running(q)) == 1 })
	q.become(2, 4) // 4 mod 2: the first member claims, which is this node
	await(t, "the entry under the new name, and the old one settled", func() bool {
		es := running(q)
		return len(es) == 1 && es[0].ID.Member.Inc == 2 && q.Table().Orphaned == 1
	})
	if n := q.Table().Claimed; n != 1 {
		t.Errorf("claimed %d", n)
	}
	c.Close()
	await(t, "the end", func() bool { return len(running(q)) == 0 })
}

func TestManySlowRequests(t *testing.T) {
	t.Parallel()
	r, q := hugeRig(t)
	const n = 100
	cs := make([]*client, n)
	for i := range cs {
		cs[i] = r.slow(fmt.Sprintf("/huge.bin?%d", i))
	}
	await(t, "all entries with offsets", func() bool {
		es := running(q)
		for _, e := range es {
			if e.Offset == 0 || len(e.Head) == 0 {
				return false
			}
		}
		return len(es) == n
	})
	paths := map[string]bool{}
	for _, e := range running(q) {
		paths[e.Path] = true
	}
	if len(paths) != n {
		t.Errorf("%d different requests of %d", len(paths), n)
	}
	for _, c := range cs {
		c.Close()
	}
	if err := r.server.FlushQueue(context.Background()); err != nil {
		t.Fatal(err)
	}
	await(t, "all ends", func() bool { return len(running(q)) == 0 })
}

func TestTicks(t *testing.T) {
	q := newFakeQueue()
	r := newReporter(newSlots(1))
	r.become(q.Self())
	propose := func(op *queue.Op) {
		b, err := op.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Propose(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	if op := r.ticks(1, q.Table()); op != nil || r.ticks(1<<50, q.Table()) != nil {
		t.Fatal("ticks while nothing waits for time")
	}
	at := ring.Instant(1 << 51)
	r.ticks(at, q.Table())
	propose(&queue.Op{Kind: queue.OpBegin, N: 1})
	if op := r.ticks(at.Add(tickEvery-1), q.Table()); op != nil {
		t.Fatalf("too early: %+v", op)
	}
	op := r.ticks(at.Add(tickEvery), q.Table())
	if op == nil {
		t.Fatal("no tick")
	}
	propose(op)
	if q.Table().Age != uint64(tickEvery.Milliseconds()) || r.ticks(at.Add(10*tickEvery), q.Table()) != nil {
		t.Fatalf("age %d", q.Table().Age)
	}
	r.me.ID = 2 // not the lowest
	if op := r.ticks(at.Add(20*tickEvery), q.Table()); op != nil {
		t.Fatalf("%+v", op)
	}
}

// Nothing is allocated for a request that is short.
func TestTrackingAllocatesNothing(t *testing.T) {
	var tr tracked
	tr.open(newSlots(1), somebody)
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/a.txt")
	ctx.Request.Header.SetHost("a.test")
	at := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		tr.begin(&ctx, at)
		tr.responds(&ctx)
		tr.heads(nil)
		tr.sent(300)
		tr.reads()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTracking(b *testing.B) {
	var tr tracked
	tr.open(newSlots(1), somebody)
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/1k.bin")
	ctx.Request.Header.SetHost("a.test")
	at := time.Now()
	for b.Loop() {
		tr.begin(&ctx, at)
		tr.responds(&ctx)
		tr.heads(nil)
		tr.sent(300)
		tr.reads()
	}
}

// BenchmarkSweep looks at 10,000 idle connections.
func BenchmarkSweep(b *testing.B) {
	s := newSlots(16384)
	for range 10_000 {
		if _, ok := s.take(); !ok {
			b.Fatal("no slot")
		}
	}
	r := newReporter(s)
	for b.Loop() {
		r.look(time.Hour)
	}
}
