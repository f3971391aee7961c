package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/effect"
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

// SessionHeader names the viewer's session when a player reads a film part by
// part as an object.
const SessionHeader = "X-Rain-Session"

const (
	maxListed  = 1000
	metaPrefix = "X-Rain-Meta-"
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
	idem, err := effect.KeyOf(&c.Request.Header)
	if err != nil {
		return err
	}
	if idem != "" {
		return c.deleteOnce(bucket, key, idem)
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	if err := c.s.deps.Store.Delete(ctx, bucket, key, string(c.Request.Header.Peek("If-Match"))); err != nil {
		return c.refused(bucket, key, err)
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

func (c *call) putObject(bucket, name string) error {
	opt, err := c.putOptions()
	if err != nil {
		return err
	}
	key, err := effect.KeyOf(&c.Request.Header)
	if err != nil {
		return err
	}
	if key != "" {
		return c.putOnce(bucket, name, key, opt)
	}
	// Without a key the put's one op on the token is entry and outcome in one:
	// whoever dies when, it is applied once or never.
	ctx, body, done := c.uploading()
	defer done()
	info, created, err := c.s.deps.Store.Put(ctx, bucket, name, body, opt)
	if err != nil {
		return c.refused(bucket, name, uploadError(ctx, bucket, name, err))
	}
	c.objectHeaders(info)
	sendJSON(c.RequestCtx, createdOr200(created), ObjectAnswer{API, info})
	return nil
}

// uploading bounds the storing of the body: it may take its time, what comes
// after it may not. The body's own time-outs are the connection's.
func (c *call) uploading() (ctx context.Context, body io.Reader, done func()) {
	ctx, cancel := context.WithCancelCause(c.s.base)
	timer := time.AfterFunc(c.s.cfg.OpTimeout, func() { cancel(context.DeadlineExceeded) })
	return ctx, &progress{c.body, timer, c.s.cfg.OpTimeout}, func() {
		timer.Stop()
		cancel(nil)
	}
}

func uploadError(ctx context.Context, bucket, key string, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("admin: put %s/%s: %w", bucket, key, cause)
	}
	return err
}

// fresh waits until what this node answered from is known everywhere.
func (c *call) fresh(version uint64) error {
	if c.s.deps.Fresh == nil {
		return nil
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	return c.s.deps.Fresh(ctx, version)
}

// refused is the answer to a write whose condition does not hold: as good as a
// read, so it must be as fresh as one.
func (c *call) refused(bucket, key string, err error) error {
	if !errors.Is(err, store.ErrPrecondition) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	info, statErr := c.s.deps.Store.Stat(bucket, key)
	if statErr != nil && !errors.Is(statErr, store.ErrNotFound) {
		return err
	}
	if e := c.fresh(info.Version); e != nil {
		return fmt.Errorf("admin: %w: %w; and it is not sure: %w", effect.ErrNotNow, err, e)
	}
	return err
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

func (c *call) objectHeaders(i store.Info) {
	for name, value := range objectFields(i) {
		c.Response.Header.Set(name, value)
	}
}

// objectFields are the header fields that describe an object.
func objectFields(i store.Info) map[string]string {
	return map[string]string{
		"ETag":            i.ETag,
		"Last-Modified":   i.Modified.UTC().Format(http.TimeFormat),
		"X-Rain-Version":  strconv.FormatUint(i.Version, 10),
		"X-Rain-Sha256":   i.SHA256,
		"X-Rain-Code":     fmt.Sprintf("%d,%d", i.N, i.K),
		"X-Rain-Survives": strconv.Itoa(i.Survives),
	}
}

func (c *call) getObject(bucket, key string) error {
	info, err := c.s.deps.Store.Stat(bucket, key)
	fresh := c.fresh(info.Version)
	for range 3 {
		if errors.Is(fresh, ErrReadAgain) {
			info, err = c.s.deps.Store.Stat(bucket, key)
			fresh = c.fresh(info.Version)
		}
	}
	if fresh != nil {
		c.Response.Header.Set("X-Rain-State", "isolated")
	}
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
	if who := c.Request.Header.Peek(SessionHeader); c.s.deps.Viewed != nil && len(who) > 0 {
		client, _ := netip.AddrFromSlice(c.RemoteIP())
		c.s.deps.Viewed(who, info.Bucket, info.Key, off, n, client.Unmap())
	}
	c.SetBodyStream(&objectSender{body: obj.Body, conn: c.Conn(), off: off, n: n}, int(n))
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
