package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"rain/snow/admin"
	"rain/store"
)

// PutOptions are the conditions of a put.
type PutOptions struct {
	ContentType    string
	IfMatch        string
	IfAbsent       bool
	IdempotencyKey string // "": one is made if a condition is set
}

// Object is an object being read. The caller closes Body.
type Object struct {
	Body        io.ReadCloser
	Size        int64 // of what Body gives
	ETag        string
	ContentType string
	Partial     bool
}

func objectPath(bucket, key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	p := "/api/v1/objects/" + url.PathEscape(bucket)
	if key != "" {
		p += "/" + strings.Join(parts, "/")
	}
	return p
}

// Put stores size bytes (-1: not known) of body. A body that is an io.Seeker
// can be sent again to another node; another one goes to a ready node, once.
func (c *Client) Put(ctx context.Context, bucket, key string, body io.Reader, size int64, opt PutOptions) (admin.ObjectAnswer, error) {
	h := http.Header{}
	set := func(k, v string) {
		if v != "" {
			h.Set(k, v)
		}
	}
	set("Content-Type", opt.ContentType)
	set("If-Match", opt.IfMatch)
	if opt.IfAbsent {
		h.Set("If-None-Match", "*")
	}
	seeker, again := body.(io.Seeker)
	if opt.IdempotencyKey == "" && again && (opt.IfAbsent || opt.IfMatch != "") {
		opt.IdempotencyKey = rand.Text()
	}
	set("Idempotency-Key", opt.IdempotencyKey)
	r := request{method: "PUT", path: objectPath(bucket, key), header: h, size: size, once: !again}
	r.body = func() (io.ReadCloser, error) {
		if again {
			if _, err := seeker.Seek(0, io.SeekStart); err != nil {
				return nil, fmt.Errorf("client: put %s/%s: %w", bucket, key, err)
			}
		}
		return io.NopCloser(body), nil
	}
	var a admin.ObjectAnswer
	err := c.call(ctx, r, &a)
	return a, err
}

// Get opens an object, or the range "A-B" of it.
func (c *Client) Get(ctx context.Context, bucket, key, rng string) (*Object, error) {
	h := http.Header{}
	if rng != "" {
		h.Set("Range", "bytes="+rng)
	}
	a, err := c.do(ctx, request{method: "GET", path: objectPath(bucket, key), header: h})
	if err != nil {
		return nil, err
	}
	return &Object{
		Body: &objectBody{touching{a.Body, a.idle}}, Size: a.ContentLength, ETag: a.Header.Get("ETag"),
		ContentType: a.Header.Get("Content-Type"), Partial: a.StatusCode == 206,
	}, nil
}

type objectBody struct{ touching }

func (b *objectBody) Close() error {
	err := b.ReadCloser.Close()
	b.idle.stop()
	return err
}

// Stat describes an object.
func (c *Client) Stat(ctx context.Context, bucket, key string) (admin.ObjectAnswer, error) {
	var a admin.ObjectAnswer
	err := c.call(ctx, request{method: "GET", path: objectPath(bucket, key) + "?info"}, &a)
	return a, err
}

// Delete removes an object; with ifMatch only if it has that ETag.
func (c *Client) Delete(ctx context.Context, bucket, key, ifMatch string) error {
	h := http.Header{}
	if ifMatch != "" {
		h.Set("If-Match", ifMatch)
	}
	return c.delete(ctx, request{method: "DELETE", path: objectPath(bucket, key), header: h})
}

// List returns up to limit (0: as many as one answer has) objects with the
// prefix and keys above after.
func (c *Client) List(ctx context.Context, bucket, prefix, after string, limit int) (admin.ListAnswer, error) {
	q := url.Values{"prefix": {prefix}, "after": {after}, "limit": {strconv.Itoa(limit)}}
	var a admin.ListAnswer
	err := c.call(ctx, request{method: "GET", path: objectPath(bucket, "") + "?" + q.Encode()}, &a)
	return a, err
}

// ListAll calls f for all objects with the prefix.
func (c *Client) ListAll(ctx context.Context, bucket, prefix string, f func(store.Info) error) error {
	for after := ""; ; {
		a, err := c.List(ctx, bucket, prefix, after, 0)
		if err != nil {
			return err
		}
		for _, i := range a.Objects {
			if err := f(i); err != nil {
				return err
			}
		}
		if a.Next == "" {
			return nil
		}
		after = a.Next
	}
}

// Buckets lists the buckets.
func (c *Client) Buckets(ctx context.Context) ([]string, error) {
	var a admin.BucketsAnswer
	err := c.call(ctx, request{method: "GET", path: "/api/v1/objects"}, &a)
	return a.Buckets, err
}

// CreateBucket makes a bucket; created is false if it was there.
func (c *Client) CreateBucket(ctx context.Context, name string) (created bool, err error) {
	a, err := c.MakeBucket(ctx, name, admin.BucketOrder{})
	return a.Created, err
}
