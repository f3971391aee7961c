package guestbook

import (
	"bytes"
	_ "embed"
	"html/template"
	"log/slog"

	"github.com/valyala/fasthttp"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("guestbook").Parse(pageSource))

// view is what the page shows.
type view struct {
	Problem string // why the last post was not taken; "": it was, or there was none
	Text    string // in the form
	Key     string // of the form
	Before  uint64 // show what is older; 0: the newest
	MaxText int
	Count   int
	Entries []Entry
	Older   uint64 // the before of the next page; 0: there is none
}

// page sends the book to a browser.
func (b *Book) page(ctx *fasthttp.RequestCtx, status int, v view) {
	list, more, err := b.newest(v.Before)
	if err != nil {
		b.deps.Log.Warn("the guestbook cannot be read now", slog.Any("err", err))
		if v.Problem == "" {
			status, v.Problem = fasthttp.StatusServiceUnavailable, "Not all of the book can be read now. Reload in a moment."
		}
	}
	v.Entries, v.MaxText, v.Count = list, MaxText, b.deps.Store.Count(Bucket)
	if more && len(list) > 0 {
		v.Older = list[len(list)-1].ID
	}
	if v.Key == "" {
		v.Key = b.deps.NewKey()
	}
	var buf bytes.Buffer
	if err := pageTemplate.Execute(&buf, v); err != nil {
		b.deps.Log.Error("the guestbook's page cannot be made", slog.Any("err", err))
		ctx.SetStatusCode(fasthttp.StatusInternalServerError)
		return
	}
	h := &ctx.Response.Header
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.SetBody(buf.Bytes())
}
