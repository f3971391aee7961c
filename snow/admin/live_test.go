package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// liveFake is a node that can be changed under the stream's eyes.
type liveFake struct {
	mu      sync.Mutex
	status  Status
	events  []Event
	changed chan struct{}
	looks   int
}

func newLiveFake() *liveFake {
	return &liveFake{changed: make(chan struct{}), status: Status{
		Node: "n1", Cluster: "test", Health: "ok", Sentence: "fine {}",
		Ring: Ring{State: "member", View: 1}, Members: []Member{{Name: "n1", State: "up"}}, Links: []Link{{A: "n1", B: "n2", State: "up", RTTUS: 100}},
	}}
}

func (f *liveFake) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	s := f.status
	s.Ring.Seq = uint64(f.looks) // changes all the time
	return s
}

func (f *liveFake) Ready() error { return nil }

func (f *liveFake) Events(after uint64) (out []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.ID > after {
			out = append(out, e)
		}
	}
	return out
}

func (f *liveFake) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *liveFake) Beat() Beat { return Beat{Node: "n1", RotationsPS: 50} }

// change edits the node and calls whoever listens.
func (f *liveFake) change(edit func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *liveFake) say(text string) {
	f.change(func() { f.events = append(f.events, Event{ID: uint64(len(f.events) + 1), Kind: "view", Text: text}) })
}

type liveRig struct {
	*rig
	fake *liveFake
	stop func()
}

var testUI = fstest.MapFS{
	"index.html": {Data: []byte("<!doctype html><title>RAIN</title>")}, "index.html.gz": {Data: []byte("\x1f\x8bindex")},
	"gui-abc.js": {Data: []byte("let x")}, "gui-abc.js.gz": {Data: []byte("\x1f\x8bjs")}, "licences.txt": {Data: []byte("MIT")},
}

func newLiveRig(t *testing.T, change func(*Config, *Deps)) *liveRig {
	t.Helper()
	r := &liveRig{rig: &rig{T: t, calls: make(chan string, 10)}, fake: newLiveFake()}
	cfg := DefaultConfig()
	cfg.Node, cfg.Token, cfg.Fault, cfg.Control = "n1", testToken, true, "http://127.0.0.10:81"
	deps := Deps{Status: r.fake, Live: r.fake, Cluster: &fakeCluster{r.calls}, Fault: &fakeFault{r.calls}, UI: testUI, Origins: func() []string {
		return []string{"http://127.0.0.12:8081", "http://N3.example:80/", "javascript:alert(1)", "http://x; script-src *", "http://0.0.0.0:1", "http://[::1%25eth0]:5"}
	}}
	if change != nil {
		change(&cfg, &deps)
	}
	s, err := New(cfg, deps, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	r.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Cleanup(r.stop)
	r.addr = ln.Addr().String()
	r.url = "http://" + r.addr
	return r
}

// liveEvent is one event of a stream.
type liveEvent struct {
	kind, id string
	data     map[string]json.RawMessage
}

// stream is an open live stream.
type stream struct {
	t   *testing.T
	res *http.Response
	in  *bufio.Scanner
}

func (r *liveRig) open(query string, headers ...string) *stream {
	r.Helper()
	req, err := http.NewRequest("GET", r.url+"/api/v1/live"+query, nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	res, err := http.DefaultClient.Do(req.WithContext(ctx))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { res.Body.Close(); cancel() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		r.Fatalf("live%s = %d %s", query, res.StatusCode, res.Header.Get("Content-Type"))
	}
	return &stream{t: r.T, res: res, in: bufio.NewScanner(res.Body)}
}

// next is the next event; of the kind, if one is given: others are passed over.
func (s *stream) next(kind string) liveEvent {
	s.t.Helper()
	var e liveEvent
	for s.in.Scan() {
		line := s.in.Text()
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case name == "event":
			e.kind = value
		case name == "id":
			e.id = value
		case name == "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				s.t.Fatalf("%q: %v", line, err)
			}
		case line == "" && e.kind != "":
			if kind == "" || e.kind == kind {
				return e
			}
			e = liveEvent{}
		}
	}
	s.t.Fatalf("the stream ended before an event %q: %v", kind, s.in.Err())
	return e
}

func TestLive(t *testing.T) {
	r := newLiveRig(t, nil)
	r.fake.say("view 1")
	s := r.open("")
	hello := s.next("")
	if hello.kind != "hello" || string(hello.data["node"]) != `"n1"` || string(hello.data["faults"]) != "true" || string(hello.data["control"]) != `"http://127.0.0.10:81"` {
		t.Fatalf("first came %+v", hello)
	}
	first := s.next("")
	want := []string{"api", "cluster", "health", "links", "members", "node", "queue", "ring", "sentence", "store", "streams", "tolerance", "vips", "warnings"}
	if got := slices.Sorted(maps.Keys(first.data)); first.kind != "status" || !slices.Equal(got, want) {
		t.Fatalf("the first status has %v, want %v", got, want)
	}
	if string(first.data["sentence"]) != `"fine {}"` {
		t.Errorf("sentence = %s", first.data["sentence"])
	}
	e := s.next("")
	life := strings.Trim(string(hello.data["life"]), `"`)
	if e.kind != "event" || e.id != life+".1" || string(e.data["text"]) != `"view 1"` {
		t.Errorf("then came %+v, life %s", e, life)
	}
	if b := s.next(""); b.kind != "beat" || string(b.data["rotations_per_s"]) != "50" {
		t.Errorf("then came %+v", b)
	}
	r.fake.change(func() { r.fake.status.VIPs = []VIP{{Addr: "127.0.1.1:80", Holder: "n2"}} })
	if got := slices.Sorted(maps.Keys(s.next("status").data)); !slices.Equal(got, []string{"api", "vips"}) {
		t.Errorf("a moved address is told with %v", got)
	}
	r.fake.say("view 2")
	if e := s.next("event"); e.id != life+".2" {
		t.Errorf("the second event has id %s", e.id)
	}

	again := r.open("?parts=ring,members&after=" + life + ".1")
	if got := slices.Sorted(maps.Keys(again.next("status").data)); !slices.Equal(got, []string{"api", "members", "ring"}) {
		t.Errorf("two parts are %v", got)
	}
	if e := again.next("event"); e.id != life+".2" {
		t.Errorf("after event 1 came %s", e.id)
	}
	if e := r.open("", "Last-Event-ID: otherlife.2").next("event"); e.id != life+".1" {
		t.Errorf("after an event of another life came %s", e.id)
	}
	r.want(422, "GET", "/api/v1/live?parts=ring,all", "")
	r.want(401, "GET", "/api/v1/live", "", "Authorization: ")
	r.want(405, "POST", "/api/v1/live", "")
}

// What only drifts is told with a beat, and only when it has drifted far.
func TestLiveDrift(t *testing.T) {
	a := Status{Links: []Link{{A: "n1", B: "n2", State: "up", RTTUS: 100, Loss: 0.01}}}
	b := Status{Links: []Link{{A: "n1", B: "n2", State: "up", RTTUS: 900, Loss: 0.01}}}
	c := Status{Links: []Link{{A: "n1", B: "n2", State: "down", RTTUS: 100, Loss: 0.01}}}
	d := Status{Links: []Link{{A: "n1", B: "n2", State: "up", RTTUS: 110, Loss: 0.04}}}
	links := partTable[slices.IndexFunc(partTable[:], func(p partRule) bool { return p.name == "links" })]
	for _, x := range []struct {
		name         string
		to           Status
		same, drifts bool
	}{{"itself", a, true, false}, {"far", b, true, true}, {"down", c, false, true}, {"near", d, true, false}} {
		if links.same(&a, &x.to) != x.same || links.drifts(&a, &x.to) != x.drifts {
			t.Errorf("%s: same %v, drifts %v", x.name, links.same(&a, &x.to), links.drifts(&a, &x.to))
		}
	}
	ring := partTable[slices.IndexFunc(partTable[:], func(p partRule) bool { return p.name == "ring" })]
	if !ring.same(&Status{Ring: Ring{View: 1, Seq: 5, RotationsPS: 9}}, &Status{Ring: Ring{View: 1, Seq: 6}}) || ring.same(&Status{Ring: Ring{View: 1}}, &Status{Ring: Ring{View: 2}}) {
		t.Error("the ring is new with each token, or not with another view")
	}
}

func TestLiveIsBounded(t *testing.T) {
	r := newLiveRig(t, nil)
	streams := make([]*stream, LiveClients)
	for i := range streams {
		streams[i] = r.open("?parts=ring")
	}
	_, body := r.want(503, "GET", "/api/v1/live", "")
	if !strings.Contains(body, `"busy"`) {
		t.Errorf("one too many: %s", body)
	}
	streams[7].res.Body.Close()
	end := time.Now().Add(10 * time.Second)
	for {
		res, _ := r.ask("HEAD", "/api/v1/live", "")
		if res.StatusCode != 200 {
			t.Fatalf("HEAD = %d", res.StatusCode)
		}
		req, _ := http.NewRequest("GET", r.url+"/api/v1/live", nil)
		req.Header.Set("Authorization", "Bearer "+testToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the place of a client that left stays taken")
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.stop() // ends the streams
	if _, err := io.Copy(io.Discard, streams[0].res.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream at the node's end: %v", err)
	}
}

// The hub looks only while somebody listens, and at most ten times a second; it
// drops whoever takes nothing.
func TestHubTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newLiveFake()
		h := newHub(fake, fake, Hello{Life: "x"}, slog.New(slog.DiscardHandler))
		here, there := net.Pipe()
		c, err := h.reserve(nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); c.serve(here, []byte("head")) }()
		buf := make([]byte, 64<<10)
		n, err := io.ReadAtLeast(there, buf, 300)
		if err != nil || !bytes.HasPrefix(buf[:n], []byte("head")) {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		go func() { // a taker
			for {
				if _, err := there.Read(buf); err != nil {
					return
				}
			}
		}()
		time.Sleep(10 * time.Second)
		fake.mu.Lock()
		quiet := fake.looks
		fake.mu.Unlock()
		if quiet > 75 || quiet < 40 {
			t.Errorf("%d looks in ten quiet seconds", quiet)
		}
		for range 2000 { // two seconds of a change each ms
			fake.change(func() { fake.status.Ring.View++ })
			time.Sleep(time.Millisecond)
		}
		fake.mu.Lock()
		busy := fake.looks - quiet
		fake.mu.Unlock()
		if busy > 21 || busy < 15 {
			t.Errorf("%d looks in two busy seconds", busy)
		}
		there.Close()
		<-ended

		deaf, far := net.Pipe()
		defer far.Close()
		if c, err = h.reserve(nil, 0); err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		c.serve(deaf, nil) // nobody reads
		if d := time.Since(from); d < liveWrite || d > liveWrite+time.Second {
			t.Errorf("a deaf client was kept for %v", d)
		}
		fake.mu.Lock()
		before := fake.looks
		fake.mu.Unlock()
		time.Sleep(time.Minute)
		if fake.looks != before {
			t.Errorf("%d looks without a client", fake.looks-before)
		}
		h.close()
		if _, err := h.reserve(nil, 0); !errors.Is(err, errLiveEnds) {
			t.Errorf("a closed hub: %v", err)
		}
	})
}

func TestLiveShowsSomeOfMany(t *testing.T) {
	r := newLiveRig(t, nil)
	r.fake.change(func() {
		r.fake.status.Queue = Queue{Length: 1000, Entries: make([]QueueEntry, 1000)}
		r.fake.status.Streams = make([]Stream, 1000)
	})
	e := r.open("?parts=queue,streams").next("status")
	var q Queue
	var streams []Stream
	if err := errors.Join(json.Unmarshal(e.data["queue"], &q), json.Unmarshal(e.data["streams"], &streams)); err != nil {
		t.Fatal(err)
	}
	if q.Length != 1000 || len(q.Entries) != LiveEntries || len(streams) != LiveEntries {
		t.Errorf("of 1000: length %d, %d entries, %d streams", q.Length, len(q.Entries), len(streams))
	}
}
