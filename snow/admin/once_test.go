package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"rain/store"
	"rain/store/catalog"
)

// PreparePut implements Preparer on the catalog of the test's queue.
func (f *fakeStore) PreparePut(ctx context.Context, bucket, key string, body io.Reader, opt store.PutOptions) (*store.Prepared, error) {
	b, err := io.ReadAll(body)
	if err == nil {
		err = f.fail
	}
	if err != nil {
		return nil, fmt.Errorf("fake: body: %w", err)
	}
	if f.block != nil {
		f.entered <- struct{}{}
		select {
		case <-f.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r := catalog.Record{Sum: sha256.Sum256(b), Size: int64(len(b)), Modified: 1_700_000_000, N: 4, K: 2, Type: opt.ContentType, Meta: opt.Meta}
	op, err := catalog.EncodePut(bucket, key, catalog.Cond{IfAbsent: opt.IfAbsent, IfMatch: opt.IfMatch}, r)
	return &store.Prepared{Op: op, Info: store.Info{SHA256: r.Derive().Hex, Stored: 3}}, err
}

// PrepareDelete implements Preparer.
func (f *fakeStore) PrepareDelete(bucket, key, ifMatch string) (*store.Prepared, error) {
	op, err := catalog.EncodeDelete(bucket, key, catalog.Cond{IfMatch: ifMatch})
	return &store.Prepared{Op: op}, err
}

func TestIdempotencyKey(t *testing.T) {
	r := newRig(t, nil)
	if err := r.queue.Bucket("box"); err != nil {
		t.Fatal(err)
	}
	const o = "/api/v1/objects/box/a/once"
	h, first := r.want(201, "PUT", o, "one", "Idempotency-Key: K", "If-None-Match: *", "Content-Type: text/plain")
	for _, want := range []string{`"key":"a/once"`, `"bucket":"box"`, `"size_bytes":3`, `"stored":3`, `"survives":1`, `"n":4`, `"k":2`} {
		if !strings.Contains(first, want) {
			t.Errorf("%s is not in %s", want, first)
		}
	}
	etag := h.Get("ETag")
	if rec := r.queue.Catalog().Get("box", "a/once"); rec == nil || rec.ETag != etag || h.Get("X-Rain-Version") != fmt.Sprint(rec.Version) {
		t.Errorf("the catalog has %+v, the answer %v", rec, h)
	}
	for _, key := range []string{"K", `"K"`} {
		h2, again := r.want(201, "PUT", o, "one", "Idempotency-Key: "+key, "If-None-Match: *", "Content-Type: text/plain")
		if first != again || h2.Get("Idempotency-Replayed") != "true" || h2.Get("ETag") != etag {
			t.Errorf("the repeat answered %s instead of %s", again, first)
		}
	}
	r.want(422, "PUT", o, "two", "Idempotency-Key: K", "If-None-Match: *", "Content-Type: text/plain")
	r.want(422, "PUT", o, "one", "Idempotency-Key: K", "Content-Type: text/plain")
	r.want(422, "PUT", o+"/other", "one", "Idempotency-Key: K", "If-None-Match: *", "Content-Type: text/plain")
	r.want(422, "DELETE", o, "", "Idempotency-Key: K")
	r.want(400, "PUT", o, "one", "Idempotency-Key: "+strings.Repeat("k", 129))
	r.want(400, "PUT", o, "one", "Idempotency-Key: a,b")
	// A refusal is an outcome like any other, also when it would not be refused now.
	r.want(412, "PUT", o, "two", "Idempotency-Key: L", "If-None-Match: *")
	_, deleted := r.want(204, "DELETE", o, "", "Idempotency-Key: M", "If-Match: "+etag)
	h, again := r.want(204, "DELETE", o, "", "Idempotency-Key: M", "If-Match: "+etag)
	if deleted != again || h.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeated delete: %v", h)
	}
	h, body := r.want(412, "PUT", o, "two", "Idempotency-Key: L", "If-None-Match: *")
	if !strings.Contains(body, `"code":"precondition"`) || h.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeated refusal: %s", body)
	}
	r.want(404, "DELETE", o, "", "Idempotency-Key: N")
	r.want(404, "PUT", "/api/v1/objects/nobucket/k", "x", "Idempotency-Key: O")
}

func TestIdempotencyKeyRunning(t *testing.T) {
	r := newRig(t, nil)
	if err := r.queue.Bucket("box"); err != nil {
		t.Fatal(err)
	}
	r.store.block = make(chan struct{})
	got := make(chan int, 1)
	go func() {
		res, _ := r.ask("PUT", "/api/v1/objects/box/slow", "x", "Idempotency-Key: S")
		got <- res.StatusCode
	}()
	<-r.store.entered
	h, _ := r.want(409, "PUT", "/api/v1/objects/box/slow", "x", "Idempotency-Key: S")
	if h.Get("Retry-After") == "" {
		t.Error("409 says nothing of when to come again")
	}
	close(r.store.block)
	if code := <-got; code != 201 {
		t.Errorf("the first put = %d", code)
	}
}

func TestKeyedTimeout(t *testing.T) {
	r := newRig(t, func(c *Config) { c.OpTimeout = 20 * time.Millisecond })
	r.store.block = make(chan struct{})
	if _, body := r.want(503, "PUT", "/api/v1/objects/box/k", "x", "Idempotency-Key: S"); !strings.Contains(body, `"code":"timeout"`) {
		t.Errorf("answer %s", body)
	}
}

func FuzzObjectInput(f *testing.F) {
	put, _ := catalog.EncodePut("box", "k", catalog.Cond{IfMatch: "*"}, catalog.Record{Size: 3, N: 4, K: 2, Type: "text/plain"})
	del, _ := catalog.EncodeDelete("box", "k", catalog.Cond{})
	add, _ := catalog.EncodeAppend("box", "k", catalog.Record{Size: 3})
	for _, op := range [][]byte{put, del, add} {
		f.Add(encodeObject(&store.Prepared{Op: op, Info: store.Info{Stored: 3}}))
	}
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ObjectEffect{}.Run(b)
		if err != nil {
			if !errors.Is(err, errOnce) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if again, err := (ObjectEffect{}).Run(bytes.Clone(b)); err != nil || !reflect.DeepEqual(a, again) {
			t.Fatalf("Run is not pure: %+v, %+v, %v", a, again, err)
		}
		if n, err := parseNote(a.Note); err != nil || !bytes.Equal(n.append(nil), a.Note) || len(a.Note) > 2048 {
			t.Fatalf("note %x: %+v, %v", a.Note, n, err)
		}
	})
}

func FuzzObjectNote(f *testing.F) {
	f.Add((&note{bucket: "box", key: "k"}).append(nil))
	f.Add((&note{put: true, bucket: "box", key: "k", kind: "text/plain"}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseNote(b)
		if err == nil && !bytes.Equal(n.append(nil), b) {
			t.Fatalf("accepted %x, writes it back as %x", b, n.append(nil))
		}
		if _, err := (ObjectEffect{}).Answer(b, nil); err != nil && !errors.Is(err, errOnce) {
			t.Fatalf("Answer: %v", err)
		}
	})
}
