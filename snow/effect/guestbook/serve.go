package guestbook

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"rain/snow/effect"
	"rain/store"
)

// maxBody is what a form with MaxText bytes may need, each as %XX.
const maxBody = 3*MaxText + 1<<10

// Handle answers requests for the book. It is for snow.Server.Mount.
func (b *Book) Handle(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Vary", "Accept")
	if p := strings.TrimSuffix(string(ctx.Path()), "/"); p != Path {
		effect.Failure{Status: 404, Code: "not_found", Text: "there is nothing here but " + Path}.Send(ctx)
		return
	}
	switch string(ctx.Method()) {
	case "GET", "HEAD":
		b.list(ctx)
	case "POST":
		b.write(ctx)
	case "OPTIONS":
		ctx.Response.Header.Set("Allow", methods)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	default:
		ctx.Response.Header.Set("Allow", methods)
		effect.Failure{Status: 405, Code: "method_not_allowed", Text: "use " + methods}.Send(ctx)
	}
}

const methods = "GET, HEAD, POST, OPTIONS"

// wantsPage reports whether a browser asks, rather than a program.
func wantsPage(ctx *fasthttp.RequestCtx) bool {
	return bytes.Contains(ctx.Request.Header.Peek("Accept"), []byte("text/html"))
}

// post is what came in a POST.
type post struct{ text, key string }

// readPost takes the text and the key out of a request.
func readPost(ctx *fasthttp.RequestCtx) (p post, err error) {
	if p.key, err = effect.KeyOf(&ctx.Request.Header); err != nil {
		return p, err
	}
	body := ctx.Request.Body()
	if len(body) > maxBody {
		return p, errTooLarge
	}
	kind, _, _ := strings.Cut(string(ctx.Request.Header.ContentType()), ";")
	p.text = string(body)
	if strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		// Programs say so, too, without meaning it: what has no field "text" is
		// the text itself.
		if args := ctx.PostArgs(); args.Has("text") {
			p.text = string(args.Peek("text"))
			if k := args.Peek("key"); p.key == "" && len(k) > 0 {
				if p.key, err = effect.ParseKey(k); err != nil {
					return p, err
				}
			}
		}
	}
	if len(p.text) > MaxText {
		return p, errTooLarge
	}
	return p, checkText(p.text)
}

var (
	errTooLarge = errors.New("a text has at most 4096 bytes")
	errOrigin   = errors.New("a page of another site may not write here")
)

func checkText(s string) error {
	if strings.TrimSpace(s) == "" || !utf8.ValidString(s) {
		return errText
	}
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return errText
		}
	}
	return nil
}

// write puts a text into the book.
func (b *Book) write(ctx *fasthttp.RequestCtx) {
	p, err := readPost(ctx)
	if err == nil && crossSite(&ctx.Request.Header) {
		err = errOrigin
	}
	if err != nil {
		b.refuse(ctx, p, err)
		return
	}
	req := &effect.Request{
		Scope: Scope, Key: p.key, Client: effect.Client(ctx), Method: "POST",
		Host: string(ctx.Host()), Path: Path,
	}
	fingerprint(req, p.text)
	o, err := b.deps.Do.Do(context.Background(), b.post, req, func(c context.Context, known bool) error {
		if known {
			return nil // there is an outcome: the token will tell it, or that it is another request's
		}
		c, cancel := context.WithTimeout(c, b.cfg.Timeout)
		defer cancel()
		return b.prepare(c, req, p.text)
	})
	if err != nil {
		b.refuse(ctx, p, err)
		return
	}
	resp, err := b.post.Answer(o.Note, o.Result)
	if err != nil {
		b.refuse(ctx, p, err)
		return
	}
	if h := &ctx.Response.Header; o.Replayed && b.deps.Taker != nil && len(h.Peek("X-Rain-Node")) > 0 {
		h.Set("X-Rain-Node", b.deps.Taker(o.ID.Member.ID)) // who first took it
	}
	resp.Send(ctx, o.Replayed)
	if wantsPage(ctx) {
		ctx.SetStatusCode(fasthttp.StatusSeeOther)
	}
}

// crossSite reports whether a browser sends this for a page of another site.
func crossSite(h *fasthttp.RequestHeader) bool {
	return string(h.Peek("Sec-Fetch-Site")) == "cross-site"
}

// refusals are the book's own errors; the first match wins.
var refusals = []struct {
	err  error
	fail effect.Failure
}{
	{errTooLarge, effect.Failure{Status: 413, Code: "too_large", Text: errTooLarge.Error()}},
	{errText, effect.Failure{Status: 400, Code: "bad_text", Text: errText.Error()}},
	{errOrigin, effect.Failure{Status: 403, Code: "cross_origin", Text: errOrigin.Error()}},
	{errFull, effect.Failure{Status: 507, Code: "book_full", Text: errFull.Error()}},
	{store.ErrNoSpace, effect.Failure{Status: 507, Code: "no_space", Text: store.ErrNoSpace.Error()}},
	{store.ErrUnavailable, effect.Failure{Status: 503, Code: "unavailable", Text: store.ErrUnavailable.Error(), Later: true}},
	{errManyReaders, effect.Failure{Status: 503, Code: "busy", Text: errManyReaders.Error(), Later: true}},
}

// refuse answers with an error; a browser gets its text back, with the key under
// which it was sent: to send it again is safe.
func (b *Book) refuse(ctx *fasthttp.RequestCtx, p post, err error) {
	f, known := effect.Explain(err)
	for _, r := range refusals {
		if !known && errors.Is(err, r.err) {
			f, known = r.fail, true
		}
	}
	if !known {
		b.deps.Log.Error("the guestbook failed", slog.Any("err", err))
	}
	if !wantsPage(ctx) {
		f.Send(ctx)
		return
	}
	if f.Later {
		ctx.Response.Header.Set("Retry-After", "1")
	}
	if f.Code == "other_request" || f.Code == "bad_key" {
		p.key = "" // the form gets a new one
	}
	b.page(ctx, f.Status, view{Problem: f.Text, Text: p.text, Key: p.key})
}
