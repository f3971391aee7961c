package httpfile

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
)

// verdict is what the preconditions of a request come to.
type verdict int

const (
	proceed verdict = iota
	notModified
	failed
)

// evaluate goes through the preconditions in the order of RFC 9110 section
// 13.2.2, for GET and HEAD of a file that exists.
func evaluate(h *fasthttp.RequestHeader, f *File) verdict {
	if v := h.Peek("If-Match"); len(v) > 0 {
		if !matchesAny(v, f.ETag, false) {
			return failed
		}
	} else if v := h.Peek("If-Unmodified-Since"); len(v) > 0 {
		if t, ok := parseDate(v); ok && f.Modified.Truncate(time.Second).After(t) {
			return failed
		}
	}
	if v := h.Peek("If-None-Match"); len(v) > 0 {
		if matchesAny(v, f.ETag, true) {
			return notModified
		}
	} else if v := h.Peek("If-Modified-Since"); len(v) > 0 {
		// The usual case by far is the very date that we sent.
		if string(v) == f.LastModified && f.LastModified != "" {
			return notModified
		}
		if t, ok := parseDate(v); ok && !f.Modified.IsZero() && !f.Modified.Truncate(time.Second).After(t) {
			return notModified
		}
	}
	return proceed
}

// rangeApplies evaluates If-Range: an entity tag must match strongly, a date
// must be exactly our Last-Modified (RFC 9110 section 13.1.5).
func rangeApplies(h *fasthttp.RequestHeader, f *File) bool {
	v := h.Peek("If-Range")
	if len(v) == 0 {
		return true
	}
	if v[0] == '"' {
		return string(v) == f.ETag
	}
	if bytes.HasPrefix(v, []byte("W/")) {
		return false
	}
	t, ok := parseDate(v)
	return ok && !f.Modified.IsZero() && f.Modified.Truncate(time.Second).Equal(t)
}

// matchesAny reports whether the list of entity tags has tag or is "*". A
// malformed list matches up to its fault.
func matchesAny(list []byte, tag string, weak bool) bool {
	if string(bytes.Trim(list, " \t")) == "*" {
		return true
	}
	for {
		list = bytes.TrimLeft(list, " \t,")
		if len(list) == 0 {
			return false
		}
		isWeak := false
		if rest, ok := bytes.CutPrefix(list, []byte("W/")); ok {
			isWeak, list = true, rest
		}
		if len(list) < 2 || list[0] != '"' {
			return false
		}
		end := bytes.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if string(list[:end+2]) == tag && (weak || !isWeak) {
			return true
		}
		list = list[end+2:]
	}
}

func parseDate(b []byte) (time.Time, bool) {
	t, err := fasthttp.ParseHTTPDate(b)
	if err != nil {
		// The two obsolete forms of RFC 9110 section 5.6.7 must be understood, too.
		for _, layout := range []string{"Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
			if t, err = time.Parse(layout, string(b)); err == nil {
				break
			}
		}
	}
	return t, err == nil
}
