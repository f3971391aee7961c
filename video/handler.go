package video

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/httpfile"
	"rain/store"
)

// Prefix is where the handler is to be mounted.
const Prefix = "/video"

const (
	forGood = "public, max-age=31536000, immutable" // for what is named by its hash
	revise  = "no-cache"                            // keep it, and ask each time
)

// reply is one request on its way.
type reply struct {
	*fasthttp.RequestCtx
	s *Server
}

// Handle answers a request below Prefix. It keeps nothing of ctx.
func (s *Server) Handle(ctx *fasthttp.RequestCtx) {
	r := reply{ctx, s}
	h := &ctx.Response.Header
	// Films are for everybody, and a page of one address goes on at another one
	// when a node dies.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "X-Rain-Node, X-Rain-State, Content-Length, Content-Range")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	switch {
	case ctx.IsOptions():
		h.Set("Allow", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Range")
		ctx.SetStatusCode(204)
		return
	case !ctx.IsGet() && !ctx.IsHead():
		h.Set("Allow", "GET, HEAD, OPTIONS")
		r.text(405, "use GET")
		return
	}
	rest, _ := strings.CutPrefix(string(ctx.Path()), Prefix)
	name, what, folder := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	wait, cancel := context.WithTimeout(context.Background(), s.cfg.OpenTimeout)
	defer cancel()
	var err error
	switch {
	case rest == "":
		r.redirect(Prefix + "/")
	case name == "":
		err = r.index(wait)
	case name == "-":
		err = r.asset(what)
	case !folder:
		if _, err = s.find(wait, name); err == nil {
			r.redirect(Prefix + "/" + name + "/")
		}
	default:
		err = r.film(wait, name, what)
	}
	if err != nil {
		r.fail(err)
	}
}

func (r reply) redirect(to string) {
	r.Response.Header.Set("Location", to)
	r.text(301, to)
}

func (r reply) text(status int, text string) {
	r.SetStatusCode(status)
	r.SetContentType("text/plain; charset=utf-8")
	r.SetBodyString(strconv.Itoa(status) + " " + text + "\n")
}

func (r reply) fail(err error) {
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoBucket):
		r.text(404, "there is nothing here")
		return
	case errors.Is(err, errGone):
		r.text(410, "the film was replaced; load the page again")
		return
	}
	r.s.log.Warn("a request for a film failed", slog.String("path", string(r.Path())), slog.Any("err", err))
	r.Response.Header.Set("Retry-After", "1")
	r.text(503, "not available now; try again, here or on another node")
}

var errGone = errors.New("video: that version of the film is gone")

// film answers what lies below /video/NAME/.
func (r reply) film(ctx context.Context, name, what string) error {
	e, err := r.s.find(ctx, name)
	if err != nil {
		return err
	}
	x, tag := e.Index, e.Index.Tag()
	cache := revise
	if v := r.QueryArgs().Peek("v"); len(v) > 0 {
		if string(v) != tag {
			return errGone
		}
		cache = forGood
	}
	r.Response.Header.Set("Cache-Control", cache)
	switch what {
	case "":
		return r.page(name, x)
	case "film.json":
		return r.facts(ctx, name)
	case "index.m3u8":
		return r.memory("application/vnd.apple.mpegurl", x.Master("media.m3u8?v="+tag))
	case "media.m3u8":
		return r.memory("application/vnd.apple.mpegurl", x.Media(func(n int) string {
			if n < 0 {
				return "init.mp4?v=" + tag
			}
			return "seg-" + strconv.Itoa(n) + ".m4s?v=" + tag
		}))
	case "init.mp4":
		b, err := r.s.initSegment(ctx, e)
		if err != nil {
			return err
		}
		return r.memory("video/mp4", b)
	case "film.mp4":
		return r.stored(ctx, e.Key, "video/mp4")
	case "poster.jpg":
		return r.stored(ctx, name+"/poster", "image/jpeg")
	}
	if l, ok := strings.CutSuffix(what, ".vtt"); ok {
		if l, ok := language(l); ok {
			return r.stored(ctx, name+"/"+captionsOf(l), "text/vtt; charset=utf-8")
		}
	}
	if n, ok := segmentNumber(what); ok && n < x.Segments() {
		return r.segment(ctx, e, n)
	}
	return ErrNotFound
}

// segmentNumber reads "seg-12.m4s", written without leading zeros.
func segmentNumber(s string) (int, bool) {
	head, prefixed := strings.CutPrefix(s, "seg-")
	digits, suffixed := strings.CutSuffix(head, ".m4s")
	if !prefixed || !suffixed || len(digits) > 7 {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && strconv.Itoa(n) == digits
}

// memory answers with bytes that are at hand.
func (r reply) memory(kind string, b []byte) error {
	sum := sha256.Sum256(b)
	f := &httpfile.File{ETag: `"` + hex.EncodeToString(sum[:16]) + `"`, ContentType: kind, Size: int64(len(b)), Small: b}
	return httpfile.Serve(r.RequestCtx, f, nil, nil)
}

// stored answers with an object of the store, whole or in ranges.
func (r reply) stored(ctx context.Context, key, kind string) error {
	info, err := r.s.deps.Content.Stat(Bucket, key)
	if err != nil {
		return err
	}
	f := &httpfile.File{ETag: info.ETag, ContentType: kind, Modified: info.Modified, LastModified: httpTime(info.Modified), Size: info.Size}
	return httpfile.Serve(r.RequestCtx, f, func() (httpfile.Body, func(), error) {
		o, err := r.s.deps.Content.Open(ctx, Bucket, key)
		if err != nil {
			return nil, nil, err
		}
		if o.ETag != info.ETag {
			return nil, nil, errors.Join(fmt.Errorf("video: %s: %w", key, ErrChanged), o.Body.Close())
		}
		return o.Body, r.closer(o.Body, key), nil
	}, nil)
}

// segment answers with a media segment.
func (r reply) segment(ctx context.Context, e *entry, n int) error {
	body, err := r.s.segment(ctx, e, n)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "rain segment %d %s %d", e.Index.Format, e.Index.SHA256, n))
	f := &httpfile.File{ETag: `"` + hex.EncodeToString(sum[:16]) + `"`, ContentType: "video/iso.segment", Size: body.size}
	opened := false
	err = httpfile.Serve(r.RequestCtx, f, func() (httpfile.Body, func(), error) {
		opened = true
		return body, r.closer(body, e.Key), nil
	}, nil)
	if !opened {
		err = errors.Join(err, body.Close())
	}
	return err
}

func (r reply) closer(c interface{ Close() error }, key string) func() {
	log := r.s.log
	return func() {
		if err := c.Close(); err != nil {
			log.Warn("closing a film", slog.String("key", key), slog.Any("err", err))
		}
	}
}

// httpTime writes a time as RFC 9110 section 5.6.7 has it; "" for none.
func httpTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return string(fasthttp.AppendHTTPDate(nil, t))
}

// facts is film.json.
func (r reply) facts(ctx context.Context, name string) error {
	f, err := r.s.Film(ctx, name)
	if err != nil {
		return err
	}
	b, err := json.Marshal(struct {
		API       int      `json:"api"`
		Name      string   `json:"name"`
		Hosts     []string `json:"hosts"`
		Tag       string   `json:"tag"`
		DurationS float64  `json:"duration_s"`
		Width     int      `json:"width"`
		Height    int      `json:"height"`
		FrameRate float64  `json:"frame_rate"`
		Bits      int64    `json:"bits"`
		Segments  int      `json:"segments"`
		LongestS  float64  `json:"longest_s"`
		Poster    bool     `json:"poster"`
		Captions  []string `json:"captions"` // languages; "": not named
	}{1, name, append([]string{}, r.hosts()...), f.Tag(), float64(f.DurationMS) / 1000, f.Video.Width, f.Video.Height, f.Video.FrameRate, f.Average,
		f.Segments(), f.Longest(), f.Poster, f.Captions})
	if err != nil {
		return fmt.Errorf("video: film.json: %w", err)
	}
	return r.memory("application/json", append(b, '\n'))
}
