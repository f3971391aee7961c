package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/valyala/fasthttp"

	"rain/ring"
	"rain/snow/site"
	"rain/store"
)

// ErrorBody is the error of an answer. Code is for programs and never changes
// its meaning; Text says what and where; Hint, if any, what to do.
type ErrorBody struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

type errorAnswer struct {
	API   int       `json:"api"`
	Error ErrorBody `json:"error"`
}

// failure is an error that knows its HTTP status.
type failure struct {
	status int
	ErrorBody
}

func (f *failure) Error() string { return f.Text }

func fail(status int, code, text, hint string) error {
	return &failure{status, ErrorBody{code, text, hint}}
}

// errTable is the one place where errors become statuses; the first match wins.
var errTable = []struct {
	err    error
	status int
	code   string
	hint   string
}{
	{store.ErrNoBucket, 404, "no_bucket", ""},
	{store.ErrNotFound, 404, "not_found", ""},
	{ErrNotFound, 404, "not_found", ""},
	{store.ErrPrecondition, 412, "precondition", "look at the object as it is now: rainctl stat"},
	{store.ErrLayout, 409, "layout", "look at it: rainctl layout show"},
	{store.ErrOtherBucket, 409, "conflict", "rainctl bucket ls shows the buckets"},
	{store.ErrBusy, 409, "busy", "wait until it is done"},
	{store.ErrTooWeak, 412, "too_weak", "rainctl bucket ls shows what buckets demand, rainctl layout show the storage nodes"},
	{store.ErrBadCode, 422, "bad_code", ""},
	{store.ErrBadName, 422, "bad_name", ""},
	{store.ErrTooLarge, 413, "too_large", ""},
	{store.ErrNoSpace, 507, "no_space", "delete objects, or give the nodes more disk"},
	{ring.ErrOutcomeUnknown, 503, "outcome_unknown", "look whether it happened before you try again"},
	{ring.ErrNotPrimary, 503, "no_quorum", "ask another node, or bring nodes back"},
	{store.ErrUnavailable, 503, "unavailable", "try again, here or on another node"},
	{context.DeadlineExceeded, 503, "timeout", "try again; its outcome is unknown if it was a change"},
	{context.Canceled, 503, "stopping", "ask another node"},
	{site.ErrNoSite, 404, "no_site", ""},
	{site.ErrNoVersion, 404, "no_version", ""},
	{site.ErrMissing, 409, "missing_files", ""},
	{site.ErrBadBlob, 422, "wrong_hash", ""},
	{site.ErrBadName, 422, "bad_name", ""},
	{site.ErrBusy, 503, "busy", ""},
	{ErrWrongNode, 421, "wrong_node", "rainctl finds that node's address in the status"},
	{ErrBadInput, 422, "bad_input", ""},
	{ErrConflict, 409, "conflict", ""},
	{ErrNotAllowed, 403, "not_allowed", ""},
	{io.ErrUnexpectedEOF, 400, "body_cut_short", "send the whole body again"},
	{os.ErrDeadlineExceeded, 408, "too_slow", "send the body faster"},
}

func classify(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	for _, e := range errTable {
		if errors.Is(err, e.err) {
			return &failure{e.status, ErrorBody{e.code, err.Error(), e.hint}}
		}
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return &failure{408, ErrorBody{"too_slow", err.Error(), "send the body faster"}}
	}
	return &failure{500, ErrorBody{"internal", err.Error(), "see this node's log"}}
}

// sendError writes err as the answer.
func sendError(ctx *fasthttp.RequestCtx, err error) {
	f := classify(err)
	switch f.status {
	case 401:
		ctx.Response.Header.Set("WWW-Authenticate", `Basic realm="rain admin", charset="UTF-8"`)
	case 429, 503:
		ctx.Response.Header.Set("Retry-After", "1")
	}
	sendJSON(ctx, f.status, errorAnswer{API, f.ErrorBody})
}

func sendJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status = 500
		b = []byte(`{"api":1,"error":{"code":"internal","text":` + strconv.Quote(err.Error()) + `}}`)
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(append(b, '\n'))
}
