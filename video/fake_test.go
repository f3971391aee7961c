package video

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/valyala/fasthttp"

	"rain/store"
)

// shelf is a content store in memory.
type shelf struct {
	mu      sync.Mutex
	bucket  bool
	objects map[string]item
	open    int // bodies that were not closed
	version uint64
}

type item struct {
	store.Info
	body []byte
}

type shelfBody struct {
	*bytes.Reader
	s *shelf
}

func (b shelfBody) Bytes() []byte  { return nil }
func (b shelfBody) File() *os.File { return nil }
func (b shelfBody) Close() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.open--
	return nil
}

func (s *shelf) CreateBucket(context.Context, string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.bucket
	s.bucket = true
	return !was, nil
}

func (s *shelf) Put(_ context.Context, bucket, key string, body io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return store.Info{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, there := s.objects[key]
	if opt.IfAbsent && there || opt.IfMatch != "" && opt.IfMatch != old.ETag {
		return store.Info{}, false, store.ErrPrecondition
	}
	sum := sha256.Sum256(b)
	s.version++
	i := store.Info{Bucket: bucket, Key: key, ETag: fmt.Sprintf("%q", hex.EncodeToString(sum[:8])), SHA256: hex.EncodeToString(sum[:]),
		Size: int64(len(b)), ContentType: opt.ContentType, Version: s.version, Modified: time.Unix(1e9, 0), N: 4, K: 2, Stored: 4, Survives: 2}
	s.objects[key] = item{i, b}
	return i, !there, nil
}

func (s *shelf) Open(_ context.Context, _, key string) (*store.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	s.open++
	return &store.Object{Info: o.Info, Body: shelfBody{bytes.NewReader(o.body), s}}, nil
}

func (s *shelf) Stat(_, key string) (store.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok {
		return store.Info{}, store.ErrNotFound
	}
	return o.Info, nil
}

func (s *shelf) Delete(_ context.Context, _, key, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; !ok {
		return store.ErrNotFound
	}
	delete(s.objects, key)
	return nil
}

func (s *shelf) List(_, prefix, after string, _ int) ([]store.Info, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.bucket {
		return nil, "", store.ErrNoBucket
	}
	var out []store.Info
	for k, o := range s.objects {
		if strings.HasPrefix(k, prefix) && k > after {
			out = append(out, o.Info)
		}
	}
	slices.SortFunc(out, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	return out, "", nil
}

func (s *shelf) keys() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.objects {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func demoFilm(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../assets/film/demo.mp4")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newServer serves from an empty shelf; built tells whether it has a player.
func newServer(t testing.TB, built bool) (*Server, *shelf) {
	t.Helper()
	sh := &shelf{objects: map[string]item{}}
	ids := 0
	deps := Deps{
		Content: sh, Hosts: func() []string { return []string{"127.0.1.1:8080", "127.0.1.2:8080", "evil\r\n"} },
		Now: func() time.Time { return time.Unix(1e9, 0) }, NewID: func() string { ids++; return fmt.Sprintf("ID%d", ids) },
	}
	if built {
		deps.Player = fstest.MapFS{"player.js": {Data: []byte("js")}, "player.js.gz": {Data: []byte("z")}, "player.css": {Data: []byte("css")}, ".gitignore": {Data: []byte("*")}}
	}
	s, err := New(DefaultConfig(), deps, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if sh.open != 0 {
			t.Errorf("%d bodies were not closed", sh.open)
		}
	})
	return s, sh
}

func add(t testing.TB, s *Server, name string, b []byte) Film {
	t.Helper()
	f, _, err := s.Add(t.Context(), name, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// get asks the handler; header is "Name: value".
func get(t testing.TB, s *Server, method, path string, header ...string) *fasthttp.Response {
	t.Helper()
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(path)
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, nil, nil)
	s.Handle(&ctx)
	ctx.Response.Body() // reads a stream to its end
	if err := ctx.Response.CloseBodyStream(); err != nil {
		t.Fatal(err)
	}
	return &ctx.Response
}
