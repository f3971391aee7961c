package admin

import (
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rain/store"
)

// checkRead evaluates the conditions of a GET or HEAD in the order of RFC 9110,
// 13.2.2, and returns 412, 304 or 200.
func checkRead(h *fasthttp.RequestHeader, i store.Info) int {
	if im := string(h.Peek("If-Match")); im != "" {
		if !matches(im, i.ETag, true) {
			return 412
		}
	} else if t, ok := date(h.Peek("If-Unmodified-Since")); ok && i.Modified.Truncate(time.Second).After(t) {
		return 412
	}
	if inm := string(h.Peek("If-None-Match")); inm != "" {
		if matches(inm, i.ETag, false) {
			return 304
		}
	} else if t, ok := date(h.Peek("If-Modified-Since")); ok && !i.Modified.Truncate(time.Second).After(t) {
		return 304
	}
	return 200
}

// ifRange reports whether a Range header counts.
func ifRange(h *fasthttp.RequestHeader, i store.Info) bool {
	v := string(h.Peek("If-Range"))
	if v == "" || v == i.ETag {
		return true
	}
	t, ok := date([]byte(v))
	return ok && i.Modified.Truncate(time.Second).Equal(t)
}

func date(b []byte) (time.Time, bool) {
	if len(b) == 0 {
		return time.Time{}, false
	}
	t, err := fasthttp.ParseHTTPDate(b)
	return t, err == nil
}

// matches looks for etag in a list of entity tags. The strong comparison
// refuses weak tags.
func matches(list, etag string, strong bool) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		rest, weak := strings.CutPrefix(list, "W/")
		if !strings.HasPrefix(rest, `"`) {
			return false
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			return false
		}
		tag := rest[:end+2]
		if tag == etag && !(strong && weak) {
			return true
		}
		list = rest[end+2:]
	}
	return false
}

// parseRange reads one byte range. It returns status 206 with the range, 416 if
// none of it is there, and 200 with the whole for what it may ignore: other
// units, bad syntax, several ranges at once.
func parseRange(s string, size int64) (off, n int64, status int) {
	spec, ok := strings.CutPrefix(s, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return 0, size, 200
	}
	if first == "" {
		n, ok := position(last)
		switch {
		case !ok:
			return 0, size, 200
		case n == 0 || size == 0:
			return 0, 0, 416
		}
		n = min(n, size)
		return size - n, n, 206
	}
	off, ok = position(first)
	if !ok {
		return 0, size, 200
	}
	end := size - 1
	if last != "" {
		e, ok := position(last)
		if !ok || e < off {
			return 0, size, 200
		}
		end = min(e, end)
	}
	if off >= size {
		return 0, 0, 416
	}
	return off, end - off + 1, 206
}

// position reads digits alone. More than fit is as good as the most.
func position(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
