package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"rain/ring"
	"rain/snow/effect"
	"rain/snow/effect/effecttest"
	"rain/snow/site"
	"rain/store"
)

const testToken = "correct-horse-battery"

// fakeStore keeps objects in memory. fail, if set, is the answer to changes.
type fakeStore struct {
	mu      sync.Mutex
	buckets map[string]map[string]fakeObject
	version uint64
	fail    error
	block   chan struct{} // puts wait for it
	entered chan struct{}
	queue   *effecttest.Cluster // has what was put with a key
}

type fakeObject struct {
	store.Info
	body []byte
}

type memory struct{ *bytes.Reader }

func (memory) Close() error   { return nil }
func (memory) Bytes() []byte  { return nil }
func (memory) File() *os.File { return nil }

func (f *fakeStore) Put(ctx context.Context, bucket, key string, body io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return store.Info{}, false, fmt.Errorf("fake: body: %w", err)
	}
	if f.block != nil {
		f.entered <- struct{}{}
		select {
		case <-f.block:
		case <-ctx.Done():
			return store.Info{}, false, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bk, ok := f.buckets[bucket]
	old, exists := bk[key]
	switch {
	case f.fail != nil:
		return store.Info{}, false, fmt.Errorf("fake: %w", f.fail)
	case !ok:
		return store.Info{}, false, store.ErrNoBucket
	case strings.Contains(key, "//"):
		return store.Info{}, false, store.ErrBadName
	case opt.IfAbsent && exists, opt.IfMatch != "" && old.ETag != opt.IfMatch:
		return store.Info{}, false, store.ErrPrecondition
	}
	f.version++
	sum := sha256.Sum256(b)
	i := store.Info{Bucket: bucket, Key: key, Version: f.version, ETag: `"` + hex.EncodeToString(sum[:8]) + `"`, SHA256: hex.EncodeToString(sum[:]),
		Size: int64(len(b)), ContentType: opt.ContentType, Modified: time.Unix(1_700_000_000, 0).UTC(), Meta: opt.Meta, N: 4, K: 2, Stored: 4, Survives: 2}
	bk[key] = fakeObject{i, b}
	return i, !exists, nil
}

func (f *fakeStore) find(bucket, key string) (fakeObject, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bk, ok := f.buckets[bucket]
	if !ok {
		return fakeObject{}, fmt.Errorf("fake: %s: %w", bucket, store.ErrNoBucket)
	}
	o, ok := bk[key]
	if !ok {
		return fakeObject{}, fmt.Errorf("fake: %s/%s: %w", bucket, key, store.ErrNotFound)
	}
	return o, nil
}

func (f *fakeStore) Open(_ context.Context, bucket, key string) (*store.Object, error) {
	o, err := f.find(bucket, key)
	if err != nil {
		return nil, err
	}
	if f.fail != nil {
		return nil, f.fail
	}
	return &store.Object{Info: o.Info, Body: memory{bytes.NewReader(o.body)}}, nil
}

func (f *fakeStore) Stat(bucket, key string) (store.Info, error) {
	o, err := f.find(bucket, key)
	return o.Info, err
}

func (f *fakeStore) Delete(_ context.Context, bucket, key, ifMatch string) error {
	o, err := f.find(bucket, key)
	if err != nil {
		return err
	}
	if ifMatch != "" && ifMatch != o.ETag {
		return store.ErrPrecondition
	}
	f.mu.Lock()
	delete(f.buckets[bucket], key)
	f.mu.Unlock()
	return nil
}

func (f *fakeStore) List(bucket, prefix, after string, limit int) (out []store.Info, next string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bk, ok := f.buckets[bucket]
	if !ok {
		return nil, "", store.ErrNoBucket
	}
	for k, o := range bk {
		if strings.HasPrefix(k, prefix) && k > after {
			out = append(out, o.Info)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	if len(out) > limit {
		out = out[:limit]
		next = out[limit-1].Key
	}
	return out, next, nil
}

func (f *fakeStore) Buckets() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.buckets {
		names = append(names, k)
	}
	sort.Strings(names)
	return names
}

func (f *fakeStore) CreateBucket(_ context.Context, name string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return false, f.fail
	}
	if _, ok := f.buckets[name]; ok {
		return false, nil
	}
	f.buckets[name] = make(map[string]fakeObject)
	return true, nil
}

type fakeStatus struct{ notReady error }

func (f *fakeStatus) Status() Status { return Status{Node: "n1", Cluster: "test", Health: "ok"} }
func (f *fakeStatus) Ready() error   { return f.notReady }
func (f *fakeStatus) Events(after uint64) (out []Event) {
	for i := after + 1; i <= 3; i++ {
		out = append(out, Event{ID: i, Kind: "view"})
	}
	return out
}

type fakeCluster struct{ calls chan string }

func (f *fakeCluster) Drain(_ context.Context, n string) error {
	if n == "n9" {
		return fmt.Errorf("fake: %s: %w", n, ErrNotFound)
	}
	if n != "n1" {
		return fmt.Errorf("fake: %s: %w", n, ErrWrongNode)
	}
	f.calls <- "drain " + n
	return nil
}

func (f *fakeCluster) Undrain(_ context.Context, n string) error {
	f.calls <- "undrain " + n
	return nil
}

func (f *fakeCluster) MoveVIP(_ context.Context, addr, n string) error {
	if n == "n3" {
		return ring.ErrNotPrimary
	}
	f.calls <- "move " + addr + " " + n
	return nil
}

type fakeFault struct{ calls chan string }

func (f *fakeFault) say(format string, a ...any) error {
	f.calls <- fmt.Sprintf(format, a...)
	return nil
}
func (f *fakeFault) Cut(p, l string, one bool) error       { return f.say("cut %s %s %v", p, l, one) }
func (f *fakeFault) Heal(p, l string, one bool) error      { return f.say("heal %s %s %v", p, l, one) }
func (f *fakeFault) Drop(p string, pc float64) error       { return f.say("drop %s %v", p, pc) }
func (f *fakeFault) Delay(p string, d time.Duration) error { return f.say("delay %s %v", p, d) }
func (f *fakeFault) Clear() error                          { return f.say("clear") }
func (f *fakeFault) Crash() error                          { return f.say("crash") }
func (f *fakeFault) Freeze() error                         { return f.say("freeze") }

type fakeSites struct {
	mu    sync.Mutex
	blobs map[string][]byte
	last  site.Manifest
}

func (f *fakeSites) Have(_ context.Context, _ string, shas []string) (missing []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range shas {
		if _, ok := f.blobs[s]; !ok {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

func (f *fakeSites) PutBlob(_ context.Context, _, sha string, body io.Reader) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != sha {
		return site.ErrBadBlob
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[sha] = b
	return nil
}

func (f *fakeSites) Commit(_ context.Context, host string, m site.Manifest, _ bool) (site.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range m.Files {
		if _, ok := f.blobs[x.SHA256]; !ok {
			return site.Result{}, &site.MissingError{Host: host, SHA256: []string{x.SHA256}}
		}
	}
	f.last = m
	return site.Result{Host: host, Version: 1, Files: len(m.Files)}, nil
}

func (f *fakeSites) List(context.Context) ([]site.Info, error) {
	return []site.Info{{Host: "a.example", Version: 1}}, nil
}

func (f *fakeSites) Rollback(_ context.Context, host string, v uint64) (site.Result, error) {
	if v > 1 {
		return site.Result{}, site.ErrNoVersion
	}
	return site.Result{Host: host, Version: 1}, nil
}

func (f *fakeSites) Remove(_ context.Context, host string) error {
	if host != "a.example" {
		return site.ErrNoSite
	}
	return nil
}

// rig is a server on loopback with fakes below it.
type rig struct {
	*testing.T
	url    string
	addr   string
	store  *fakeStore
	status *fakeStatus
	sites  *fakeSites
	calls  chan string
	videos *fakeVideos
	symbol *fakeSymbols
	queue  *effecttest.Cluster

	membership *fakeMembership
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	calls := make(chan string, 10)
	r := &rig{T: t, calls: calls, membership: &fakeMembership{}, symbol: &fakeSymbols{}, status: &fakeStatus{}, videos: &fakeVideos{films: map[string]Video{}}, sites: &fakeSites{blobs: map[string][]byte{}},
		store: &fakeStore{buckets: map[string]map[string]fakeObject{"b": {}}, entered: make(chan struct{}, 10)}}
	r.queue = effecttest.New(2)
	r.store.queue = r.queue
	once, err := effect.New(effect.DefaultConfig(), r.queue.Node(1), []effect.Effect{ObjectEffect{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Node, cfg.Token, cfg.Fault = "n1", testToken, true
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, Deps{Status: r.status, Store: r.store, Effects: once, Symbols: r.symbol, Keeper: &fakeKeeper{fakeStore: r.store, calls: calls}, Sites: r.sites, Videos: r.videos, Cluster: &fakeCluster{calls}, Membership: r.membership, Settings: &fakeSettings{"conservative"}, Fault: &fakeFault{calls},
		Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "rain_up 1\n") }}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	r.addr = ln.Addr().String()
	r.url = "http://" + r.addr
	return r
}

// ask sends a request with the token and the headers "Name: value".
func (r *rig) ask(method, path, body string, headers ...string) (*http.Response, string) {
	r.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
		if v == "" {
			req.Header.Del(k)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.Fatalf("%s %s: body: %v", method, path, err)
	}
	return res, string(b)
}

// want asks and checks the status.
func (r *rig) want(status int, method, path, body string, headers ...string) (http.Header, string) {
	r.Helper()
	res, got := r.ask(method, path, body, headers...)
	if res.StatusCode != status {
		r.Fatalf("%s %s %v = %d, want %d: %s", method, path, headers, res.StatusCode, status, got)
	}
	if status >= 400 && method != "HEAD" && !strings.Contains(got, `"api":1`) {
		r.Errorf("%s %s: the error %q has no api version", method, path, got)
	}
	return res.Header, got
}
