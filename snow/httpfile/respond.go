package httpfile

import (
	"io"
	"os"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// Body is where the bytes of a file come from. store.BodyReader is one.
type Body interface {
	io.ReaderAt
	// Bytes is the body, if it is in memory; else nil.
	Bytes() []byte
	// File is the body as a file of its own, from offset 0; nil if there is none.
	File() *os.File
}

// Watcher is a Body that wants to know how far a response has come.
type Watcher interface {
	// Sent is called with 0 bytes before the first byte of each part leaves, and
	// then each time that n bytes of the body from off were handed to the
	// connection, at least every watchedChunk bytes. It must not block.
	Sent(off, n int64)
}

// File is one representation: what the response says of it and where its bytes
// are found.
type File struct {
	ETag         string // strong, with its quotes
	ContentType  string
	Coding       Coding    // of the bytes
	VaryCoding   bool      // the same URL has other codings, too
	Modified     time.Time // zero: unknown
	LastModified string    // Modified as HTTP writes it; "": none is sent
	Size         int64
	Small        []byte // the whole body, if it is kept in memory for ever; Open is not called then
}

// Opener gives the bytes of a file when a response needs them, and what is to
// be called when they are no longer needed.
type Opener func() (Body, func(), error)

// Serve answers a GET or HEAD of f. An error comes only from open; nothing is
// in the response then. done, if not nil, is called once with the number of body
// bytes written, after the last of them; possibly after Serve returned.
func Serve(ctx *fasthttp.RequestCtx, f *File, open Opener, done func(sent int64)) error {
	req, resp := &ctx.Request.Header, &ctx.Response
	switch evaluate(req, f) {
	case failed:
		resp.SetStatusCode(fasthttp.StatusPreconditionFailed)
		resp.Header.SetContentType("text/plain; charset=utf-8")
		return sendBytes(ctx, []byte("412 precondition failed\n"), done)
	case notModified:
		validators(&resp.Header, f)
		resp.SetStatusCode(fasthttp.StatusNotModified)
		return sendBytes(ctx, nil, done)
	}
	if header := req.Peek("Range"); len(header) > 0 && ctx.IsGet() && rangeApplies(req, f) {
		var room [MaxRanges]Range
		rs, err := ParseRange(room[:0], header, f.Size)
		if err != nil {
			resp.SetStatusCode(fasthttp.StatusRequestedRangeNotSatisfiable)
			resp.Header.Set("Content-Range", "bytes */"+strconv.FormatInt(f.Size, 10))
			resp.Header.SetContentType("text/plain; charset=utf-8")
			return sendBytes(ctx, []byte("416 no such range\n"), done)
		}
		if len(rs) > 0 {
			return servePart(ctx, f, rs, open, done)
		}
	}
	return serveWhole(ctx, f, open, done)
}

func serveWhole(ctx *fasthttp.RequestCtx, f *File, open Opener, done func(int64)) error {
	if f.Small != nil || f.Size == 0 || ctx.IsHead() {
		describe(&ctx.Response.Header, f)
		if ctx.IsHead() {
			ctx.Response.SkipBody = true
			ctx.Response.Header.SetContentLength(int(f.Size))
			return sendBytes(ctx, nil, done)
		}
		return sendBytes(ctx, f.Small, done)
	}
	body, release, err := open()
	if err != nil {
		return err
	}
	describe(&ctx.Response.Header, f)
	s := newStream(ctx, body, release, done)
	s.parts = append(s.parts, part{start: 0, length: f.Size})
	ctx.Response.SetBodyStream(s, int(f.Size))
	return nil
}

func servePart(ctx *fasthttp.RequestCtx, f *File, rs []Range, open Opener, done func(int64)) error {
	if len(rs) == 1 && f.Small != nil {
		r := rs[0]
		describe(&ctx.Response.Header, f)
		ctx.Response.SetStatusCode(fasthttp.StatusPartialContent)
		ctx.Response.Header.Set("Content-Range", contentRange(r, f.Size))
		return sendBytes(ctx, f.Small[r.Start:r.Start+r.Length], done)
	}
	body, release := Body(memory(f.Small)), func() {}
	if f.Small == nil {
		var err error
		if body, release, err = open(); err != nil {
			return err
		}
	}
	describe(&ctx.Response.Header, f)
	ctx.Response.SetStatusCode(fasthttp.StatusPartialContent)
	s := newStream(ctx, body, release, done)
	if len(rs) == 1 {
		ctx.Response.Header.Set("Content-Range", contentRange(rs[0], f.Size))
		s.parts = append(s.parts, part{start: rs[0].Start, length: rs[0].Length})
		ctx.Response.SetBodyStream(s, int(rs[0].Length))
		return nil
	}
	total := multipart(s, f, rs)
	ctx.Response.Header.SetContentType("multipart/byteranges; boundary=" + boundary(f))
	ctx.Response.SetBodyStream(s, int(total))
	return nil
}

// multipart lays out the parts of a multipart/byteranges body (RFC 9110 section
// 14.6) and returns their bytes in all.
func multipart(s *stream, f *File, rs []Range) int64 {
	var total int64
	lead := "--" + boundary(f)
	for _, r := range rs {
		head := lead + "\r\nContent-Type: " + f.ContentType + "\r\nContent-Range: " + contentRange(r, f.Size) + "\r\n\r\n"
		s.parts = append(s.parts, part{text: head}, part{start: r.Start, length: r.Length})
		total += int64(len(head)) + r.Length
		lead = "\r\n--" + boundary(f)
	}
	end := lead + "--\r\n"
	s.parts = append(s.parts, part{text: end})
	return total + int64(len(end))
}

// boundary depends on the file alone, so that any node writes the same bytes.
// It comes from the hash of the content, which no content can contain on purpose.
func boundary(f *File) string {
	out := []byte("rain-")
	for i := 0; i < len(f.ETag); i++ {
		if c := f.ETag[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			out = append(out, c)
		}
	}
	return string(out[:min(len(out), 60)])
}

func contentRange(r Range, size int64) string {
	b := append(make([]byte, 0, 64), "bytes "...)
	b = strconv.AppendInt(b, r.Start, 10)
	b = strconv.AppendInt(append(b, '-'), r.Start+r.Length-1, 10)
	b = strconv.AppendInt(append(b, '/'), size, 10)
	return string(b)
}

// validators are what a 304 repeats of the 200 (RFC 9110 section 15.4.5).
func validators(h *fasthttp.ResponseHeader, f *File) {
	set(h, "ETag", f.ETag)
	if f.LastModified != "" {
		set(h, "Last-Modified", f.LastModified)
	}
	if f.VaryCoding {
		set(h, "Vary", "Accept-Encoding")
	}
}

// set keeps the name as it is written here (ETag, not Etag).
func set(h *fasthttp.ResponseHeader, name, value string) {
	h.SetCanonical([]byte(name), []byte(value))
}

func describe(h *fasthttp.ResponseHeader, f *File) {
	validators(h, f)
	set(h, "Accept-Ranges", "bytes")
	h.SetContentType(f.ContentType)
	if f.Coding != Identity {
		h.SetContentEncoding(f.Coding.String())
	}
}

// sendBytes sets a body that stays valid by itself.
func sendBytes(ctx *fasthttp.RequestCtx, b []byte, done func(int64)) error {
	if len(b) > inOneWrite {
		s := newStream(ctx, memory(b), func() {}, done)
		s.parts = append(s.parts, part{length: int64(len(b))})
		ctx.Response.SetBodyStream(s, len(b))
		return nil
	}
	if b != nil {
		ctx.Response.SetBodyRaw(b)
	}
	if done != nil {
		if ctx.IsHead() {
			b = nil
		}
		done(int64(len(b)))
	}
	return nil
}
