package session

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rain/ring"
)

var rewrite = flag.Bool("rewrite", false, "write the golden stories anew; the diff is what gets reviewed")

// cluster is some nodes with a rider and a tracker each, one log, and a clock.
type cluster struct {
	index    uint64
	now      ring.Instant
	view     ring.View
	riders   []*Rider
	trackers []*Tracker
	log      []func(*Rider)
	done     []int // how far each has applied the log
}

func newCluster(t interface{ Fatal(...any) }, n int) *cluster {
	c := &cluster{done: make([]int, n)}
	var ids []int
	for i := range n {
		r := NewRider()
		tr, err := NewTracker(DefaultConfig(), r, func() ring.Member { return member(i + 1) })
		if err != nil {
			t.Fatal(err)
		}
		c.riders, c.trackers = append(c.riders, r), append(c.trackers, tr)
		ids = append(ids, i+1)
	}
	c.turn(ids...)
	return c
}

// turn commits a view; commit commits an op and says what it answered.
func (c *cluster) turn(ids ...int) {
	c.index++
	index, v := c.index, view(c.index, ids...)
	c.view = v
	c.log = append(c.log, func(r *Rider) { r.View(index, v, 0) })
	for _, i := range ids {
		c.catchUp(i)
	}
}

func (c *cluster) commit(from int, op []byte) (answer string) {
	c.index++
	index := c.index
	c.log = append(c.log, func(r *Rider) {
		if a := string(r.Apply(index, member(from), op)); r == c.riders[from-1] {
			answer = a
		}
	})
	for _, m := range c.view.Members {
		c.catchUp(int(m.ID))
	}
	return answer
}

func (c *cluster) catchUp(node int) {
	for _, f := range c.log[c.done[node-1]:] {
		f(c.riders[node-1])
	}
	c.done[node-1] = len(c.log)
}

// second lets a second pass and every member tell what it has to.
func (c *cluster) second() {
	c.now = c.now.Add(time.Second)
	for _, m := range c.view.Members {
		if op := c.trackers[m.ID-1].Tick(c.now, time.Unix(0, int64(c.now))); op != nil && c.commit(int(m.ID), op) == "" {
			c.trackers[m.ID-1].Done()
		}
	}
}

func (c *cluster) hit(node, session int, seconds float64, bytes int64) {
	h := Hit{ID: sid(session), Film: "demo", Rendition: "hls", Client: viewer, Position: uint32(seconds * 1000), Slack: 4000}
	seeks := c.trackers[node-1].Watch(c.now, h)
	c.trackers[node-1].Sent(c.now, h.ID, seeks, h.Position, bytes)
}

// TestStories plays testdata: a line is a command, what stands after "----" is
// the list of sessions as every member has it.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories in testdata: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(raw), "\r\n", "\n")
			got := story(t, want)
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("the story differs; if it should, run go test ./video/session -run TestStories -rewrite and review the diff; got:\n%s", got)
			}
		})
	}
}

func story(t *testing.T, text string) string {
	c := newCluster(t, 4)
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		var a, b int
		var at float64
		switch {
		case strings.HasPrefix(line, "| "):
			continue
		case line == "" || line[0] == '#':
		case scan(line, "hit n%d s%d at %f", &a, &b, &at):
			c.hit(a, b, at, 100)
		case scan(line, "seconds %d", &a):
			for range a {
				c.second()
			}
		case scan(line, "crash n%d", &a):
			c.turn(c.without(a)...)
		case scan(line, "join n%d", &a):
			c.turn(append(c.without(a), a)...)
		default:
			t.Fatalf("unknown command %q", line)
		}
		fmt.Fprintln(&out, line)
		if line != "" && line[0] != '#' {
			c.show(t, &out)
		}
	}
	return out.String()
}

func scan(line, format string, to ...any) bool {
	n, err := fmt.Sscanf(line, format, to...)
	return err == nil && n == len(to)
}

func (c *cluster) without(node int) (ids []int) {
	for _, m := range c.view.Members {
		if int(m.ID) != node {
			ids = append(ids, int(m.ID))
		}
	}
	return ids
}

func (c *cluster) show(t *testing.T, out *strings.Builder) {
	list := func(r *Rider) string {
		var b strings.Builder
		for _, e := range r.Entries() {
			sent := ""
			if !e.Confirmed() {
				sent = ", has not sent yet"
			}
			fmt.Fprintf(&b, "| s%d: n%d%s, at %gs, %d bytes, %d moves, %d seeks\n", e.ID[1], e.Owner.ID, sent, float64(e.Position)/1000, e.Bytes, e.Moves, e.Seeks)
		}
		return b.String()
	}
	first := list(c.riders[c.view.Members[0].ID-1])
	for _, m := range c.view.Members {
		if got := list(c.riders[m.ID-1]); got != first {
			t.Fatalf("n%d has\n%sand not\n%s", m.ID, got, first)
		}
	}
	out.WriteString(first)
}

// A batch whose outcome is not known goes out again as it was, and counts once.
func TestUnknownOutcome(t *testing.T) {
	c := newCluster(t, 2)
	c.hit(1, 1, 0, 100)
	op := c.trackers[0].Tick(c.now, time.Unix(9, 0))
	c.hit(1, 1, 2, 50)
	again := c.trackers[0].Tick(c.now.Add(time.Second), time.Unix(10, 0))
	if !slices.Equal(op, again) || op == nil {
		t.Fatalf("%x, then %x", op, again)
	}
	for range 3 {
		if why := c.commit(1, op); why != "" {
			t.Fatal(why)
		}
	}
	c.trackers[0].Done()
	c.second()
	if e, ok := c.riders[1].Find(sid(1)); !ok || e.Bytes != 150 || e.Position != 2000 {
		t.Fatalf("%+v", e)
	}
}

// What does not fit into an op goes with the next one, who waits longest first.
func TestManySessions(t *testing.T) {
	c := newCluster(t, 2)
	for i := range 3000 {
		c.hit(1, i, 1, 10)
	}
	for want := 0; c.riders[1].Len() < 3000; {
		op := c.trackers[0].Tick(c.now, time.Unix(9, 0))
		if len(op) > ring.MaxOp || len(op) == 0 || c.commit(1, op) != "" {
			t.Fatalf("an op of %d bytes with %d sessions told", len(op), want)
		}
		c.trackers[0].Done()
		if got := c.riders[1].Len(); got <= want {
			t.Fatalf("%d sessions told, then %d", want, got)
		} else {
			want = got
		}
	}
	if got := c.riders[1].Totals(); got.Bytes != 30000 {
		t.Errorf("%+v", got)
	}
}

func TestTrackerLimit(t *testing.T) {
	c := newCluster(t, 1)
	for i := range MaxSessions + 5 {
		c.hit(1, i, 1, 10)
	}
	if got := c.trackers[0].Lost(); got != 5 {
		t.Errorf("%d lost", got)
	}
	for range 40 {
		c.second()
	}
	for range 40 {
		c.second()
	}
	if n, l := c.riders[0].Len(), len(c.trackers[0].local); n != 0 || l != 0 {
		t.Errorf("after the end of all: %d sessions, %d here", n, l)
	}
}

// TestViewer: a viewer who goes forward, or back by more than the slack, and asks
// any node while nodes die and come back. Its position in the table never
// falls but by a seek, all bytes of nodes that lived to tell are counted, and in
// the end it is owned by who sends it.
func TestViewer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(t, 4)
		at, node, sent := 0.0, 1, int64(0)
		c.hit(1, 1, 0, 1)
		sent++
		c.second()
		var last Entry
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0:
				others := c.without(node)
				if len(others) == 0 {
					break
				}
				c.second() // it tells before it dies: else its last second is lost
				c.turn(others...)
				node = rapid.SampledFrom(others).Draw(t, "node")
			case 1:
				if i := rapid.IntRange(1, 4).Draw(t, "join"); len(c.without(i)) == len(c.view.Members) {
					c.turn(append(c.without(i), i)...)
				}
			case 2:
				at = max(0, at-float64(rapid.IntRange(0, 60).Draw(t, "back")))
			case 3:
				node = int(rapid.SampledFrom(c.view.Members).Draw(t, "node").ID)
			default:
				at += 2
			}
			c.hit(node, 1, at, 10)
			sent += 10
			c.second()
			e, ok := c.riders[node-1].Find(sid(1))
			if !ok {
				t.Fatal("the session is gone")
			}
			if e.Seeks == last.Seeks && e.Position < last.Position || e.Seeks < last.Seeks {
				t.Fatalf("invariant (a position never falls) broken: %+v, then %+v", last, e)
			}
			if float64(e.Position) < at*1000 {
				t.Fatalf("the viewer is at %gs, the table says %+v", at, e)
			}
			last = e
		}
		for range 5 {
			c.hit(node, 1, at, 10)
			sent += 10
			c.second()
		}
		e, _ := c.riders[node-1].Find(sid(1))
		if e.Owner != member(node) || int64(e.Bytes) != sent {
			t.Fatalf("n%d sends it, %d bytes in all; the table says %+v", node, sent, e)
		}
	})
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{ClaimAfter: time.Hour}.Validate()
	if err == nil || !strings.Contains(err.Error(), "idle_after") || !strings.Contains(err.Error(), "claim_after") {
		t.Errorf("two faults: %v", err)
	}
}

func TestRates(t *testing.T) {
	var r Rates
	e := Entry{ID: sid(1)}
	for i := range 30 {
		e.Bytes = uint64(1000 * i)
		got := r.Sample(ring.Instant(i)*ring.Instant(time.Second), []Entry{e})[e.ID]
		if want := 8000.0; i > 0 && (got < want*0.99 || got > want*1.01) {
			t.Fatalf("second %d: %g bits a second, want %g", i, got, want)
		}
	}
	for i := 30; i < 45; i++ {
		if got := r.Sample(ring.Instant(i)*ring.Instant(time.Second), []Entry{e})[e.ID]; i > 41 && got != 0 {
			t.Errorf("second %d, nothing sent: %g", i, got)
		}
	}
}
