package guestbook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"rain/ring"
	"rain/snow/effect"
	"rain/snow/effect/effecttest"
	"rain/store"
	"rain/store/catalog"
)

// fakeStore keeps bodies in memory; the objects are in the cluster's catalog.
type fakeStore struct {
	c    *effecttest.Cluster
	mu   sync.Mutex
	body map[catalog.Sum][]byte
	fail error
	puts int
}

func (f *fakeStore) CreateBucket(_ context.Context, name string) (bool, error) {
	if f.c.Catalog().HasBucket(name) {
		return false, nil
	}
	return true, f.c.Bucket(name)
}

func (f *fakeStore) PrepareAppend(_ context.Context, bucket, prefix string, body io.Reader, opt store.PutOptions) (*store.Prepared, error) {
	b, err := io.ReadAll(body)
	if err == nil {
		err = f.fail
	}
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.puts++
	sum := catalog.Sum(sha256.Sum256(b))
	f.body[sum] = b
	f.mu.Unlock()
	op, err := catalog.EncodeAppend(bucket, prefix, catalog.Record{Sum: sum, Size: int64(len(b)), Modified: 1_700_000_000, N: 1, K: 1, Type: opt.ContentType, Meta: opt.Meta})
	return &store.Prepared{Bucket: bucket, Key: prefix, Op: op}, err
}

type memory struct{ *bytes.Reader }

func (memory) Close() error   { return nil }
func (memory) Bytes() []byte  { return nil }
func (memory) File() *os.File { return nil }

func info(bucket, key string, r *catalog.Record) store.Info {
	return store.Info{Bucket: bucket, Key: key, Version: r.Version, Size: r.Size, Meta: r.Meta, Modified: time.Unix(r.Modified, 0).UTC()}
}

func (f *fakeStore) Open(_ context.Context, bucket, key string) (*store.Object, error) {
	r := f.c.Catalog().Get(bucket, key)
	if r == nil {
		return nil, store.ErrNotFound
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &store.Object{Info: info(bucket, key, r), Body: memory{bytes.NewReader(f.body[r.Sum])}}, nil
}

func (f *fakeStore) List(bucket, prefix, after string, limit int) (out []store.Info, next string, err error) {
	if !f.c.Catalog().HasBucket(bucket) {
		return nil, "", store.ErrNoBucket
	}
	f.c.Catalog().List(bucket, prefix, after, func(key string, r *catalog.Record) bool {
		if len(out) == limit {
			next = out[len(out)-1].Key
			return false
		}
		out = append(out, info(bucket, key, r))
		return true
	})
	return out, next, nil
}

func (f *fakeStore) ListBack(bucket, before string, limit int) (out []store.Info, more bool) {
	f.c.Catalog().ListBack(bucket, before, func(key string, r *catalog.Record) bool {
		if more = len(out) == limit; more {
			return false
		}
		out = append(out, info(bucket, key, r))
		return true
	})
	return out, more
}

func (f *fakeStore) Count(bucket string) int { return f.c.Catalog().Len(bucket) }

type rig struct {
	t     *testing.T
	c     *effecttest.Cluster
	store *fakeStore
	books []*Book
}

func newRig(t *testing.T, cfg Config) *rig {
	c := effecttest.New(2)
	r := &rig{t: t, c: c, store: &fakeStore{c: c, body: map[catalog.Sum][]byte{}}}
	for i := range 2 {
		ec := effect.DefaultConfig()
		ec.LeaseWait = time.Millisecond
		svc, err := effect.New(ec, c.Node(i+1), []effect.Effect{Post{}}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		b, err := New(cfg, Deps{
			Store: r.store, Do: svc, NewKey: func() string { return "form-key" },
			Taker: func(id ring.NodeID) string { return "n" + id.String()[6:] }, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.books = append(r.books, b)
	}
	return r
}

// ask sends a request to the book of node i; header is "Name: value".
func (r *rig) ask(i int, method, uri, body string, header ...string) *fasthttp.Response {
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI(uri)
	ctx.Request.Header.SetHost("demo.rain")
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		ctx.Request.Header.Set(k, v)
	}
	ctx.Request.SetBodyString(body)
	ctx.Response.Header.Set("X-Rain-Node", fmt.Sprintf("n%d", i+1)) // as snow marks it
	r.books[i].Handle(&ctx)
	return &ctx.Response
}

func (r *rig) want(code int, i int, method, uri, body string, header ...string) *fasthttp.Response {
	r.t.Helper()
	res := r.ask(i, method, uri, body, header...)
	if res.StatusCode() != code {
		r.t.Fatalf("%s %s %v = %d %s, want %d", method, uri, header, res.StatusCode(), res.Body(), code)
	}
	return res
}

func (r *rig) list(i int, query string) (l Listing) {
	r.t.Helper()
	res := r.want(200, i, "GET", Path+query, "")
	if err := json.Unmarshal(res.Body(), &l); err != nil {
		r.t.Fatalf("%s: %v", res.Body(), err)
	}
	return l
}

const text, form = "Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded"

func TestBook(t *testing.T) {
	r := newRig(t, DefaultConfig())
	if l := r.list(0, ""); l.Count != 0 || l.Entries == nil || len(l.Entries) != 0 {
		t.Errorf("an empty book is %+v", l)
	}
	first := r.want(201, 0, "POST", Path, "hello <b>", text, `Idempotency-Key: "K"`)
	var a written
	if err := json.Unmarshal(first.Body(), &a); err != nil || a.Key != "K" || a.ID == 0 || len(first.Header.Peek("Idempotency-Replayed")) > 0 {
		t.Fatalf("the first = %s", first.Body())
	}
	again := r.want(201, 1, "POST", Path, "hello <b>", text, "Idempotency-Key: K")
	if string(again.Body()) != string(first.Body()) || string(again.Header.Peek("Idempotency-Replayed")) != "true" || string(again.Header.Peek("X-Rain-Node")) != "n1" {
		t.Errorf("the repeat = %s, by %s", again.Body(), again.Header.Peek("X-Rain-Node"))
	}
	// However it is sent, it is the same text.
	r.want(201, 1, "POST", Path, "text=hello+%3Cb%3E", form, "Idempotency-Key: K")
	r.want(422, 1, "POST", Path, "other", text, "Idempotency-Key: K")
	b := r.want(201, 0, "POST", Path, "no key", form)
	if err := json.Unmarshal(b.Body(), &a); err != nil || !strings.HasPrefix(a.Key, "0.1.0.1-1-") {
		t.Errorf("without a key: %s", b.Body())
	}
	for i := range 2 {
		l := r.list(i, "")
		if l.Count != 2 || len(l.Entries) != 2 || l.Entries[0].Text != "hello <b>" || l.Entries[0].Key != "K" || l.Entries[1].Text != "no key" || l.Entries[0].ID >= l.Entries[1].ID || l.Next != 0 {
			t.Errorf("the book of node %d is %+v", i+1, l)
		}
	}
	if r.store.puts != 2 {
		t.Errorf("%d texts were stored for 2", r.store.puts)
	}
}

func TestPages(t *testing.T) {
	r := newRig(t, DefaultConfig())
	const browser = "Accept: text/html,application/xhtml+xml"
	res := r.want(303, 0, "POST", Path, "text=%3Cscript%3Ealert(1)%3C%2Fscript%3E&key=form-1", form, browser)
	if !strings.HasPrefix(string(res.Header.Peek("Location")), Path+"#e") {
		t.Errorf("sent back to %s", res.Header.Peek("Location"))
	}
	r.want(303, 1, "POST", Path, "text=%3Cscript%3Ealert(1)%3C%2Fscript%3E&key=form-1", form, browser) // a double click
	for i := range PageSize + 5 {
		r.want(201, 0, "POST", Path, fmt.Sprintf("line %d", i), text)
	}
	page := string(r.want(200, 0, "GET", Path, "", browser).Body())
	if strings.Contains(page, "<script>") || !strings.Contains(page, `value="form-key"`) || !strings.Contains(page, fmt.Sprintf("line %d<", PageSize+4)) || strings.Contains(page, "line 4<") {
		t.Errorf("the page: %.2000s", page)
	}
	_, rest, _ := strings.Cut(page, `href="/guestbook?before=`)
	before, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatal("no way to older lines")
	}
	page = string(r.want(200, 0, "GET", Path+"?before="+before, "", browser).Body())
	if !strings.Contains(page, "&lt;script&gt;") || !strings.Contains(page, "line 4<") || strings.Contains(page, "line 5<") {
		t.Errorf("the older page: %.2000s", page)
	}
	// What could not be sent is in the form again, under the same key.
	r.store.fail = store.ErrUnavailable
	res = r.want(503, 0, "POST", Path, "text=again&key=form-2", form, browser)
	if b := string(res.Body()); !strings.Contains(b, "again</textarea>") || !strings.Contains(b, `value="form-2"`) || len(res.Header.Peek("Retry-After")) == 0 {
		t.Errorf("the refusal: %.3000s", b)
	}
	l := r.list(0, "?limit=3")
	if len(l.Entries) != 3 || l.Next != l.Entries[2].ID || r.list(0, fmt.Sprintf("?after=%d&limit=1", l.Next)).Entries[0].ID <= l.Next {
		t.Errorf("a page of the list: %+v", l)
	}
}

func TestRefusals(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxEntries = 2
	r := newRig(t, cfg)
	for _, c := range []struct {
		code           int
		method, body   string
		header         string
		answerContains string
	}{
		{400, "POST", "", text, "bad_text"},
		{400, "POST", "  \n", text, "bad_text"},
		{400, "POST", "a\x00b", text, "bad_text"},
		{400, "POST", "\xff", text, "bad_text"},
		{413, "POST", strings.Repeat("x", MaxText+1), text, "too_large"},
		{413, "POST", "text=" + strings.Repeat("%41", MaxText+1), form, "too_large"},
		{413, "POST", strings.Repeat("x", 100_000), form, "too_large"},
		{400, "POST", "x", "Idempotency-Key: a b", "bad_key"},
		{400, "POST", "text=x&key=a;b,", form, "bad_key"},
		{403, "POST", "x", "Sec-Fetch-Site: cross-site", "cross_origin"},
		{405, "PUT", "x", text, "method_not_allowed"},
		{204, "OPTIONS", "", text, ""},
	} {
		if res := r.want(c.code, 0, c.method, Path, c.body, c.header); !strings.Contains(string(res.Body()), c.answerContains) {
			t.Errorf("%s %.20q: %s", c.method, c.body, res.Body())
		}
	}
	r.want(404, 0, "GET", Path+"/x", "")
	r.want(201, 0, "POST", Path, strings.Repeat("é", MaxText/2), text)
	r.want(201, 0, "POST", Path, "text="+strings.Repeat("%41", MaxText), form)
	if res := r.want(507, 0, "POST", Path, "x", text); !strings.Contains(string(res.Body()), "book_full") {
		t.Errorf("a full book: %s", res.Body())
	}
	for range cfg.MaxReaders {
		r.books[0].readers <- struct{}{}
	}
	r.want(503, 0, "GET", Path, "")
}

// An operator's own objects in the bucket do no harm.
func TestStrangeObjects(t *testing.T) {
	r := newRig(t, DefaultConfig())
	r.want(201, 0, "POST", Path, "mine", text)
	for _, key := range []string{"a", "17", "99999999999999999999", "00000000000000000003x"} {
		op, err := catalog.EncodePut(Bucket, key, catalog.Cond{}, catalog.Record{Size: 9, N: 1, K: 1})
		if err != nil {
			t.Fatal(err)
		}
		r.c.Apply(op)
	}
	if l := r.list(0, ""); len(l.Entries) != 1 || l.Entries[0].Text != "mine" {
		t.Errorf("the list: %+v", l)
	}
	r.want(200, 0, "GET", Path, "", "Accept: text/html")
}

func FuzzPostInput(f *testing.F) {
	f.Add(encodeInput("K", []byte("op")))
	f.Add([]byte{1, 3, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Post{}.Run(b)
		if err != nil {
			if !errors.Is(err, errInput) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if got := encodeInput(string(a.Note), a.Op); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, is %x", b, got)
		}
	})
}

func FuzzReadPost(f *testing.F) {
	f.Add([]byte("text=a&key=b"), "application/x-www-form-urlencoded")
	f.Add([]byte("a"), "text/plain")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.Header.Set("Content-Type", kind)
		ctx.Request.SetBody(body)
		p, err := readPost(&ctx)
		if err == nil && (len(p.text) > MaxText || checkText(p.text) != nil || len(p.key) > effect.MaxKey) {
			t.Fatalf("%q is taken as %+v", body, p)
		}
	})
}
