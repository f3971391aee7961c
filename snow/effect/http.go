package effect

import (
	"encoding/json"
	"errors"
	"net/netip"

	"github.com/valyala/fasthttp"
)

// HeaderKey names the header with a request's key; HeaderReplayed is "true" on a
// recorded answer to a repeat.
const (
	HeaderKey      = "Idempotency-Key"
	HeaderReplayed = "Idempotency-Replayed"
)

// KeyOf reads the request's key: "" if it has none.
func KeyOf(h *fasthttp.RequestHeader) (string, error) {
	all := h.PeekAll(HeaderKey)
	switch len(all) {
	case 0:
		return "", nil
	case 1:
		return ParseKey(all[0])
	}
	return "", errors.Join(errors.New("effect: more than one Idempotency-Key"), ErrKey)
}

// Failure is an error as a client sees it.
type Failure struct {
	Status int
	Code   string // for programs; never changes its meaning
	Text   string
	Later  bool // Retry-After: 1
}

// kinds is where errors become answers; the first match wins.
var kinds = []struct {
	err    error
	status int
	code   string
	later  bool
}{
	{ErrKey, fasthttp.StatusBadRequest, "bad_key", false},
	{ErrRunning, fasthttp.StatusConflict, "still_running", true},
	{ErrMismatch, fasthttp.StatusUnprocessableEntity, "other_request", false},
	{ErrUnknown, fasthttp.StatusServiceUnavailable, "outcome_unknown", true},
	{ErrNotNow, fasthttp.StatusServiceUnavailable, "not_now", true},
	{ErrBusy, fasthttp.StatusServiceUnavailable, "busy", true},
	{ErrFull, fasthttp.StatusServiceUnavailable, "full", true},
}

// Explain says what an error of this package is to a client; false: it is none
// of this package's kinds. The text of the kind alone goes out.
func Explain(err error) (Failure, bool) {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return Failure{k.status, k.code, k.err.Error(), k.later}, true
		}
	}
	return Failure{fasthttp.StatusInternalServerError, "internal", "the node failed to handle this request; see its log", false}, false
}

// Send writes the failure as an answer in JSON.
func (f Failure) Send(ctx *fasthttp.RequestCtx) {
	type body struct {
		Code string `json:"code"`
		Text string `json:"text"`
	}
	b, err := json.Marshal(struct {
		API   int  `json:"api"`
		Error body `json:"error"`
	}{1, body{f.Code, f.Text}})
	if err != nil {
		b = []byte(`{"api":1,"error":{"code":"internal"}}`) // texts of this program always marshal
	}
	if f.Later {
		ctx.Response.Header.Set("Retry-After", "1")
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetStatusCode(f.Status)
	ctx.SetContentType("application/json")
	ctx.SetBody(append(b, '\n'))
}

// Send writes the response.
func (r Response) Send(ctx *fasthttp.RequestCtx, replayed bool) {
	for _, f := range r.Header {
		ctx.Response.Header.Set(f.Name, f.Value)
	}
	if replayed {
		ctx.Response.Header.Set(HeaderReplayed, "true")
	}
	ctx.SetStatusCode(r.Status)
	ctx.SetBody(r.Body)
}

// Client is where a request came from.
func Client(ctx *fasthttp.RequestCtx) netip.AddrPort {
	a, err := netip.ParseAddrPort(ctx.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{} // not over TCP: tests
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
