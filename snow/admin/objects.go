package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rain/store"
)

// ObjectAnswer is the answer to a put, and to a get with ?info.
type ObjectAnswer struct {
	API int `json:"api"`
	store.Info
}

// ListAnswer is the answer to a get of a bucket. Next is the key to ask after
// for more, empty at the end.
type ListAnswer struct {
	API     int          `json:"api"`
	Bucket  string       `json:"bucket"`
	Objects []store.Info `json:"objects"`
	Next    string       `json:"next"`
}

// BucketsAnswer lists the buckets; BucketAnswer is about one.
type (
	BucketsAnswer struct {
		API     int      `json:"api"`
		Buckets []string `json:"buckets"`
		// Infos describe them.
		Infos []store.BucketInfo `json:"infos"`
	}
	BucketAnswer struct {
		API     int    `json:"api"`
		Bucket  string `json:"bucket"`
		Created bool   `json:"created"`
		*store.BucketInfo
	}
)

const (
	maxListed  = 1000
	metaPrefix = "X-Rain-Meta-"
	// Kept with an object so that a repeated put is known.
	metaKey     = "rain-idempotency-key"
	metaCreated = "rain-idempotency-created"
)

func (c *call) objects() error {
	st := c.s.deps.Store
	switch {
	case st == nil:
		return noSuchPath("/api/v1/objects")
	case len(c.path) < 2 || c.path[1] == "":
		if err := c.allow("GET"); err != nil {
			return err
		}
		a := BucketsAnswer{API: API, Buckets: st.Buckets()}
		notNil(&a.Buckets)
		a.Infos = c.bucketInfos(a.Buckets)
		sendJSON(c.RequestCtx, 200, a)
		return nil
	case len(c.path) < 3 || c.path[2] == "":
		return c.bucket(c.path[1])
	}
	if err := c.allow("GET", "PUT", "DELETE"); err != nil {
		return err
	}
	bucket, key := c.path[1], c.path[2]
	switch c.method {
	case "PUT":
		return c.putObject(bucket, key)
	case "DELETE":
		return c.deleteObject(bucket, key)
	}
	return c.getObject(bucket, key)
}

func (c *call) bucket(name string) error {
	if err := c.allow("GET", "PUT"); err != nil {
		return err
	}
	if c.method == "PUT" {
		return c.makeBucket(name)
	}
	limit, err := c.number("limit")
	if err != nil {
		return err
	}
	if limit == 0 || limit > maxListed {
		limit = maxListed
	}
	q := c.QueryArgs()
	a := ListAnswer{API: API, Bucket: name}
	a.Objects, a.Next, err = c.s.deps.Store.List(name, string(q.Peek("prefix")), string(q.Peek("after")), int(limit))
	if err != nil {
		return err
	}
	notNil(&a.Objects)
	sendJSON(c.RequestCtx, 200, a)
	return nil
}

func createdOr200(created bool) int {
	if created {
		return 201
	}
	return 200
}

func (c *call) deleteObject(bucket, key string) error {
	ctx, cancel := c.s.opContext()
	defer cancel()
	if err := c.s.deps.Store.Delete(ctx, bucket, key, string(c.Request.Header.Peek("If-Match"))); err != nil {
		return err
	}
	c.SetStatusCode(204)
	return nil
}

func (c *call) putOptions() (store.PutOptions, error) {
	h := &c.Request.Header
	opt := store.PutOptions{
		ContentType: string(h.ContentType()),
		IfMatch:     string(h.Peek("If-Match")),
		Size:        c.body.size,
	}
	switch inm := strings.TrimSpace(string(h.Peek("If-None-Match"))); inm {
	case "":
	case "*":
		opt.IfAbsent = true
	default:
		return opt, fail(422, "bad_input", "If-None-Match of a PUT can only be *", "")
	}
	for k, v := range h.All() {
		if name, ok := strings.CutPrefix(string(k), metaPrefix); ok {
			if opt.Meta == nil {
				opt.Meta = make(map[string]string)
			}
			opt.Meta[strings.ToLower(name)] = string(v)
		}
	}
	if h.Peek("Content-Range") != nil {
		return opt, fail(400, "bad_request", "a PUT of a part is not possible", "send the whole body")
	}
	return opt, nil
}

func (c *call) putObject(bucket, key string) error {
	opt, err := c.putOptions()
	if err != nil {
		return err
	}
	if idem := string(c.Request.Header.Peek("Idempotency-Key")); idem != "" {
		if len(idem) > 255 {
			return fail(422, "bad_input", "an Idempotency-Key may have at most 255 bytes", "")
		}
		free, err := c.s.claim(bucket + "\x00" + key + "\x00" + idem)
		if err != nil {
			return err
		}
		defer free()
		info, err := c.s.deps.Store.Stat(bucket, key)
		if err == nil && info.Meta[metaKey] == idem {
			return c.repeatedPut(info)
		}
		if opt.Meta == nil {
			opt.Meta = make(map[string]string)
		}
		opt.Meta[metaKey] = idem
		opt.Meta[metaCreated] = strconv.FormatBool(errors.Is(err, store.ErrNotFound))
	}
	// The body may take its time, the commit after it may not. The body's own
	// time-outs are the connection's.
	ctx, cancel := context.WithCancelCause(c.s.base)
	defer cancel(nil)
	timer := time.AfterFunc(c.s.cfg.OpTimeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	info, created, err := c.s.deps.Store.Put(ctx, bucket, key, &progress{c.body, timer, c.s.cfg.OpTimeout}, opt)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			return fmt.Errorf("admin: put %s/%s: %w", bucket, key, cause)
		}
		return err
	}
	c.objectHeaders(info)
	sendJSON(c.RequestCtx, createdOr200(created), ObjectAnswer{API, info})
	return nil
}

// progress starts the time-out anew with each read.
type progress struct {
	r     io.Reader
	timer *time.Timer
	d     time.Duration
}

func (p *progress) Read(b []byte) (int, error) {
	p.timer.Stop() // a slow client is the connection's business
	n, err := p.r.Read(b)
	p.timer.Reset(p.d)
	return n, err
}

// claim marks an idempotency key as running here.
func (s *Server) claim(k string) (free func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.running[k]; ok {
		return nil, fail(409, "still_running", "a request with this Idempotency-Key is still running", "repeat it later for its answer")
	}
	s.running[k] = struct{}{}
	return func() {
		s.mu.Lock()
		delete(s.running, k)
		s.mu.Unlock()
	}, nil
}

func (c *call) repeatedPut(info store.Info) error {
	h := sha256.New()
	if _, err := io.Copy(h, c.body); err != nil {
		return fmt.Errorf("admin: read the body: %w", err)
	}
	if hex.EncodeToString(h.Sum(nil)) != info.SHA256 {
		return fail(422, "other_body", "this Idempotency-Key came with another body before", "take a new key for a new request")
	}
	c.objectHeaders(info)
	c.Response.Header.Set("Idempotency-Replayed", "true")
	sendJSON(c.RequestCtx, createdOr200(info.Meta[metaCreated] == "true"), ObjectAnswer{API, info})
	return nil
}

func (c *call) objectHeaders(i store.Info) {
	h := &c.Response.Header
	h.Set("ETag", i.ETag)
	h.SetLastModified(i.Modified)
	h.Set("X-Rain-Version", strconv.FormatUint(i.Version, 10))
	h.Set("X-Rain-Sha256", i.SHA256)
	h.Set("X-Rain-Code", fmt.Sprintf("%d,%d", i.N, i.K))
	h.Set("X-Rain-Survives", strconv.Itoa(i.Survives))
}

func (c *call) getObject(bucket, key string) error {
	info, err := c.s.deps.Store.Stat(bucket, key)
	if err != nil {
		return err
	}
	if c.QueryArgs().Has("info") {
		sendJSON(c.RequestCtx, 200, ObjectAnswer{API, info})
		return nil
	}
	if c.QueryArgs().Has("plan") {
		return c.plan(bucket, key)
	}
	c.objectHeaders(info)
	h := &c.Response.Header
	// Objects are anybody's bytes: in a browser they must not act with the
	// operator's rights on this origin.
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Accept-Ranges", "bytes")
	switch checkRead(&c.Request.Header, info) {
	case 412:
		return fail(412, "precondition", fmt.Sprintf("%s/%s is not as the request requires", bucket, key), "")
	case 304:
		c.SetStatusCode(304)
		return nil
	}
	off, n, status := int64(0), info.Size, 200
	if rg := string(c.Request.Header.Peek("Range")); rg != "" && ifRange(&c.Request.Header, info) {
		off, n, status = parseRange(rg, info.Size)
	}
	switch status {
	case 416:
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
		return fail(416, "bad_range", fmt.Sprintf("%s/%s has %d bytes", bucket, key, info.Size), "")
	case 206:
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, info.Size))
	}
	if c.method == "HEAD" {
		c.objectType(info, status)
		c.Response.SkipBody = true
		h.SetContentLength(int(n))
		return nil
	}
	return c.sendObject(info, off, n, status)
}

func (c *call) objectType(info store.Info, status int) {
	c.SetStatusCode(status)
	if info.ContentType != "" {
		c.SetContentType(info.ContentType)
	} else {
		c.SetContentType("application/octet-stream")
	}
}

// sendObject sends n bytes from off of the version that info describes. If the
// key was written meanwhile, it starts over with the new version's headers.
func (c *call) sendObject(info store.Info, off, n int64, status int) error {
	ctx, cancel := c.s.opContext()
	defer cancel()
	obj, err := c.s.deps.Store.Open(ctx, info.Bucket, info.Key)
	if err != nil {
		clearObject(&c.Response)
		return err
	}
	if obj.ETag != info.ETag {
		_ = obj.Body.Close() // nothing was written to it
		clearObject(&c.Response)
		return fail(503, "changing", "the object is being written", "try again")
	}
	c.objectType(info, status)
	c.SetBodyStream(&objectReader{io.NewSectionReader(obj.Body, off, n), obj.Body}, int(n))
	return nil
}

func clearObject(r *fasthttp.Response) {
	for _, h := range []string{"ETag", "Last-Modified", "Content-Range", "Accept-Ranges"} {
		r.Header.Del(h)
	}
}

// objectReader closes the object when the answer is out.
type objectReader struct {
	io.Reader
	body io.Closer
}

func (r *objectReader) Close() error { return r.body.Close() }
