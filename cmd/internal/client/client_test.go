package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"rain/snow/admin"
)

// node is an admin address that answers as h says and counts its calls.
type node struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
}

func newNode(t *testing.T, h http.HandlerFunc) *node {
	t.Helper()
	n := &node{}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			n.mu.Lock()
			n.calls = append(n.calls, r.Method+" "+r.URL.EscapedPath())
			n.mu.Unlock()
		}
		if r.Header.Get("Authorization") != "Bearer tok" && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			refuse(w, 401, "unauthorised")
			return
		}
		h(w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *node) seen() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.calls)
}

func (n *node) count() int { return len(n.seen()) }

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"api": 1, "error": admin.ErrorBody{Code: code, Text: "text", Hint: "hint"}})
}

func status(name string, members ...admin.Member) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(admin.Status{API: 1, Node: name, Members: members})
	}
}

func deadURL(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String()
}

func newClient(t *testing.T, urls ...string) *Client {
	c := New(urls, "tok")
	t.Cleanup(c.Close)
	return c
}

func TestAsksTheNextURL(t *testing.T) {
	busy := newNode(t, func(w http.ResponseWriter, r *http.Request) { refuse(w, 503, "no_quorum") })
	good := newNode(t, status("n2"))
	c := newClient(t, deadURL(t), busy.URL, good.URL+"/")
	for range 2 {
		st, err := c.Status(t.Context())
		if err != nil || st.Node != "n2" {
			t.Fatalf("Status = %q, %v", st.Node, err)
		}
	}
	if n := busy.count(); n != 1 {
		t.Errorf("the busy node was asked %d times; the good one should be remembered", n)
	}
}

func TestAllFail(t *testing.T) {
	busy := newNode(t, func(w http.ResponseWriter, r *http.Request) { refuse(w, 503, "no_quorum") })
	_, err := newClient(t, deadURL(t), busy.URL).Status(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Code != "no_quorum" {
		t.Errorf("a node's answer is worth more than a dead one's silence, got %v", err)
	}
	if _, err = newClient(t, deadURL(t)).Status(t.Context()); !Unreachable(err) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestFinalAnswersAreFinal(t *testing.T) {
	first := newNode(t, func(w http.ResponseWriter, r *http.Request) { refuse(w, 404, "not_found") })
	second := newNode(t, status("n2"))
	_, err := newClient(t, first.URL, second.URL).Stat(t.Context(), "b", "k")
	var e *Error
	if !errors.As(err, &e) || e.Status != 404 || second.count() != 0 {
		t.Errorf("err %v, the second node was asked %d times", err, second.count())
	}
}

// A frozen node takes connections and says nothing.
func TestFrozenNodeIsPassedOver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	good := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{"api": 1, "size_bytes": len(b)})
	})
	c := newClient(t, "http://"+ln.Addr().String(), good.URL)
	c.Timeout = 2 * time.Second
	o, err := c.Put(t.Context(), "b", "k", strings.NewReader("hello"), 5, PutOptions{})
	if err != nil || o.Size != 5 {
		t.Errorf("Put = %+v, %v", o, err)
	}
}

// A conditional put that is sent twice must not trip over itself.
func TestConditionalPutIsRepeatedWithOneKey(t *testing.T) {
	var mu sync.Mutex
	var keys []string
	keep := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
	}
	cut := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			keep(r)
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = c.Close() // it may have been stored; nobody knows
			}
		}
	})
	good := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			keep(r)
		}
		b, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{"api": 1, "size_bytes": len(b)})
	})
	o, err := newClient(t, cut.URL, good.URL).Put(t.Context(), "b", "k", strings.NewReader("hello"), 5, PutOptions{IfAbsent: true})
	if err != nil || o.Size != 5 {
		t.Fatalf("Put = %+v, %v", o, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("idempotency keys %q, want the same twice", keys)
	}
}

// The first try of a put may be under way on a survivor yet.
func TestPutWaitsForItsFirstTry(t *testing.T) {
	var puts atomic.Int64
	node := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" && puts.Add(1) == 1 {
			w.WriteHeader(409)
			_, _ = io.WriteString(w, `{"api":1,"error":{"code":"still_running","text":"wait"}}`)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{"api": 1, "size_bytes": len(b)})
	})
	o, err := newClient(t, node.URL).Put(t.Context(), "b", "k", strings.NewReader("hello"), 5, PutOptions{IdempotencyKey: "K"})
	if err != nil || o.Size != 5 || puts.Load() != 2 {
		t.Errorf("Put = %+v, %v after %d tries", o, err, puts.Load())
	}
}

func TestRollbackIsNotSentTwice(t *testing.T) {
	cut := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_ = c.Close()
			}
		}
	})
	good := newNode(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"api":1}`) })
	_, err := newClient(t, cut.URL, good.URL).RollbackSite(t.Context(), "h", 0)
	var e *Error
	if !errors.As(err, &e) || e.Code != "outcome_unknown" || good.count() != 0 {
		t.Errorf("err %v; the other node was asked %d times", err, good.count())
	}
}

func TestNodeIsFoundByStatus(t *testing.T) {
	n2 := newNode(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"api":1}`) })
	n1 := newNode(t, status("n1", admin.Member{Name: "n1"}, admin.Member{Name: "n2", Admin: n2.URL}))
	c := newClient(t, n1.URL)
	if err := c.Fault(t.Context(), "crash", admin.FaultOrder{Node: "n2"}); err != nil {
		t.Fatal(err)
	}
	if calls := n2.seen(); !slices.Contains(calls, "POST /api/v1/fault/crash") {
		t.Errorf("n2 got %v", calls)
	}
	var e *Error
	if err := c.Drain(t.Context(), "n7"); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("an unknown node: %v", err)
	}
	if err := c.Drain(t.Context(), "n1"); !errors.As(err, &e) || e.Code != "no_admin_address" {
		t.Errorf("a node without an address: %v", err)
	}
}

func TestObjectKeysSurviveTheURL(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"api":1}`) })
	if _, err := newClient(t, n.URL).Stat(t.Context(), "b", "a/b c?d#e%f"); err != nil {
		t.Fatal(err)
	}
	if got, want := n.seen(), "GET /api/v1/objects/b/a/b%20c%3Fd%23e%25f"; !slices.Equal(got, []string{want}) {
		t.Errorf("asked for %s, want %s", got, want)
	}
}

// siteNode keeps blobs and the last manifest.
type siteNode struct {
	mu    sync.Mutex
	blobs map[string]string
	last  admin.PublishOrder
}

func (s *siteNode) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/sites/h.example/")
	switch {
	case path == "missing":
		var in struct{ SHA256 []string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		out := admin.MissingAnswer{API: 1}
		for _, x := range in.SHA256 {
			if _, ok := s.blobs[x]; !ok {
				out.Missing = append(out.Missing, x)
			}
		}
		_ = json.NewEncoder(w).Encode(out)
	case strings.HasPrefix(path, "blobs/"):
		b, _ := io.ReadAll(r.Body)
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != path[len("blobs/"):] {
			refuse(w, 422, "wrong_hash")
			return
		}
		s.blobs[path[len("blobs/"):]] = string(b)
		w.WriteHeader(204)
	case path == "publish":
		s.last = admin.PublishOrder{}
		_ = json.NewDecoder(r.Body).Decode(&s.last)
		_, _ = io.WriteString(w, `{"api":1,"host":"h.example","version":3,"files":4}`)
	default:
		w.WriteHeader(404)
	}
}

func TestPublishSite(t *testing.T) {
	s := &siteNode{blobs: map[string]string{}}
	c := newClient(t, newNode(t, s.handle).URL)
	tree := fstest.MapFS{
		"index.html":              {Data: []byte("<html>home</html>")},
		"a/b.css":                 {Data: []byte("body{}")},
		"a/copy.css":              {Data: []byte("body{}")},
		"empty":                   {},
		".well-known/security.md": {Data: []byte("x")},
		".git/config":             {Data: []byte("secret")},
	}
	p, err := c.PublishSite(t.Context(), "h.example", tree, true)
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != 3 || p.SentBytes != int64(len("<html>home</html>")+len("body{}")+len("x")) || !slices.Equal(p.Skipped, []string{".git"}) {
		t.Errorf("published %+v", p)
	}
	if len(s.last.Files) != 5 || !s.last.Default || s.last.Files["a/b.css"].Type != "text/css; charset=utf-8" {
		t.Errorf("manifest %+v", s.last)
	}
	if p, err = c.PublishSite(t.Context(), "h.example", tree, true); err != nil || p.SentBytes != 0 {
		t.Errorf("the second publish sent %d bytes, %v", p.SentBytes, err)
	}
}

func TestPublishRefusesLinksThatLeaveTheTree(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "tree"), 0o755),
		os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600),
		os.WriteFile(filepath.Join(dir, "tree", "index.html"), []byte("i"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "tree", "link")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	s := &siteNode{blobs: map[string]string{}}
	c := newClient(t, newNode(t, s.handle).URL)
	if _, err := c.PublishSite(t.Context(), "h.example", os.DirFS(filepath.Join(dir, "tree")), false); err == nil || !strings.Contains(err.Error(), "leaves the tree") {
		t.Errorf("os.DirFS: %v", err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := c.PublishSite(t.Context(), "h.example", root.FS(), false); err == nil {
		t.Error("os.Root: the link was published")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.blobs) != 0 {
		t.Error("something was uploaded")
	}
}

func TestUploadErrorEndsPublish(t *testing.T) {
	s := &siteNode{blobs: map[string]string{}}
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			refuse(w, 507, "no_space")
			return
		}
		s.handle(w, r)
	})
	tree := fstest.MapFS{}
	for i := range 50 {
		tree[strings.Repeat("f", i+1)] = &fstest.MapFile{Data: []byte(strings.Repeat("x", i+1))}
	}
	_, err := newClient(t, n.URL).PublishSite(t.Context(), "h.example", tree, false)
	var e *Error
	if !errors.As(err, &e) || e.Status != 507 {
		t.Errorf("PublishSite = %v, want the node's 507", err)
	}
}

func TestClusterFile(t *testing.T) {
	for text, want := range map[string]string{
		`{"admin":["http://a"],"token":"T"}`: "http://a T ",
		`{"api":1,"token":"T","control":"http://c","nodes":[{"name":"n1","admin":"http://a"},{"name":"n2","admin":"http://b"}]}`: "http://a http://b T http://c",
	} {
		f, err := parseClusterFile([]byte(text))
		if got := strings.Join(f.URLs(), " ") + " " + f.Token + " " + f.Control; err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "{}", `{"admin":[]}`, `[]`} {
		if _, err := parseClusterFile([]byte(text)); err == nil {
			t.Errorf("%q is taken for a cluster file", text)
		}
	}
}

func FuzzClusterFile(f *testing.F) {
	f.Add([]byte(`{"admin":["http://a"],"token":"T"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseClusterFile(b); err == nil && len(c.URLs()) == 0 {
			t.Fatalf("%q has no address and no error", b)
		}
	})
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := newNode(t, status("n1"))
	if _, err := newClient(t, n.URL).Status(ctx); err == nil {
		t.Error("a cancelled call succeeds")
	}
}

// A token that is refused is named by where it is from: the node cannot know.
func TestWrongTokenNamesItsFile(t *testing.T) {
	n := newNode(t, status("n1"))
	path := filepath.Join(t.TempDir(), "demo.json")
	file := func(token string) *Client {
		b := fmt.Sprintf(`{"admin":[%q],"token":%q}`, n.URL, token)
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := ReadClusterFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return f.Client()
	}
	for _, c := range []struct {
		token string
		says  []string
	}{
		{"of another demo", []string{n.URL, path, "demo.json", "--cluster"}},
		{"", []string{n.URL, "none was given", "--cluster", "token_file"}},
	} {
		_, err := file(c.token).Status(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Status != 401 {
			t.Fatalf("token %q: %v", c.token, err)
		}
		for _, want := range c.says {
			if text := e.Error() + "; " + e.Hint; !strings.Contains(text, want) {
				t.Errorf("token %q: %q does not say %q", c.token, text, want)
			}
		}
	}
	if _, err := file("tok").Status(t.Context()); err != nil {
		t.Error(err)
	}
}
