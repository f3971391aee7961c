package snow

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// Limits of a request.
const (
	MaxURI      = 8 << 10
	MaxHeaders  = 100
	HeaderBytes = 16 << 10 // the request line included
	MaxGetBody  = 16 << 10
)

// framing is what a request's header lines say about how it is framed.
type framing struct {
	lines            int
	hosts            int
	bareLF, folded   bool
	length, encoding bool // Content-Length, Transfer-Encoding
	badEncoding      bool // another than chunked
	close            bool // a close among the tokens of Connection
}

// inspect goes through header lines as they came. fasthttp lets pass what we do
// not: folded lines, a bare LF, Content-Length beside Transfer-Encoding (the
// stuff of request smuggling), and it reads Connection as one word.
func inspect(raw []byte) framing {
	var f framing
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			return f
		}
		line := raw[:end]
		raw = raw[end+1:]
		if len(line) == 0 || line[len(line)-1] != '\r' {
			f.bareLF = true
			continue
		}
		line = line[:len(line)-1]
		if len(line) == 0 {
			continue // the empty line at the end
		}
		f.lines++
		if line[0] == ' ' || line[0] == '\t' {
			f.folded = true
			continue
		}
		f.field(line)
	}
	return f
}

func (f *framing) field(line []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return // fasthttp refuses it
	}
	name, value := line[:colon], line[colon+1:]
	switch len(name) {
	case len("Host"):
		if bytes.EqualFold(name, []byte("Host")) {
			f.hosts++
		}
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			f.close = f.close || hasToken(value, "close")
		}
	case len("Content-Length"):
		f.length = f.length || bytes.EqualFold(name, []byte("Content-Length"))
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			f.encoding = true
			f.badEncoding = f.badEncoding || !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked"))
		}
	}
}

// hasToken reports whether a comma-separated list has the token, in any case.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if item = bytes.Trim(item, " \t"); len(item) == len(token) && bytes.EqualFold(item, []byte(token)) {
			return true
		}
	}
	return false
}

// refusal gives the status that a request must be refused with, or 0.
func refusal(h *fasthttp.RequestHeader, f *framing) int {
	switch {
	case f.bareLF, f.folded, f.length && f.encoding, f.badEncoding, f.hosts > 1:
		return fasthttp.StatusBadRequest
	case len(h.RequestURI()) > MaxURI:
		return fasthttp.StatusRequestURITooLong
	case f.lines > MaxHeaders:
		return fasthttp.StatusRequestHeaderFieldsTooLarge
	}
	switch string(h.Protocol()) {
	case "HTTP/1.1":
		if f.hosts == 0 {
			return fasthttp.StatusBadRequest
		}
	case "HTTP/1.0":
	default:
		return fasthttp.StatusHTTPVersionNotSupported
	}
	return 0
}

// bodyLimits tells fasthttp what it may read of a request's body.
func (s *Server) bodyLimits(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	var rc fasthttp.RequestConfig
	length := h.ContentLength() // -1: chunked, -2: none
	if length == 0 || length == -2 {
		return rc
	}
	rc.ReadTimeout = s.cfg.BodyTimeout
	if h.IsGet() || h.IsHead() || h.IsOptions() {
		rc.MaxRequestBodySize = min(MaxGetBody, s.cfg.MaxBody)
	}
	return rc
}
