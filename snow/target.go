package snow

import (
	"bytes"
)

// target is what a request asks for.
type target struct {
	path  []byte // begins with "/", decoded, clean; a folder ends with "/"
	query []byte // with its "?", as it came; or empty
	host  []byte // of an absolute-form request; else empty
	star  bool   // OPTIONS *
}

// parseTarget reads a request target (RFC 9112 section 3.2). What it returns may
// share uri's memory, or room's. A path that climbs above the root, a bad escape
// or an escaped control character is refused.
func parseTarget(room, uri []byte) (t target, ok bool) {
	if string(uri) == "*" {
		return target{path: []byte("/"), star: true}, true
	}
	if len(uri) > 0 && uri[0] != '/' {
		scheme, rest, found := bytes.Cut(uri, []byte("://"))
		if !found || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https")) {
			return target{}, false
		}
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		t.host, uri = rest[:end], rest[end:]
		if len(t.host) == 0 || bytes.IndexByte(t.host, '@') >= 0 {
			return target{}, false
		}
	}
	path := uri
	plain := true
	for i, c := range uri {
		if c == '?' {
			path, t.query = uri[:i], uri[i:]
			break
		}
		switch {
		case c == '#' || c <= ' ' || c == 0x7f:
			return target{}, false
		case c == '%', c == '/' && i > 0 && uri[i-1] == '/', c == '.' && i > 0 && uri[i-1] == '/':
			plain = false
		}
	}
	if len(path) == 0 {
		path = []byte("/")
	}
	t.path = path
	if plain {
		return t, true
	}
	if room, ok = unescape(room[:0], path); !ok {
		return target{}, false
	}
	t.path, ok = clean(room)
	return t, ok
}

// unescape appends path to dst with its %XX decoded.
func unescape(dst, path []byte) ([]byte, bool) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) {
				return nil, false
			}
			hi, ok1 := unhex(path[i+1])
			lo, ok2 := unhex(path[i+2])
			if c = hi<<4 | lo; !ok1 || !ok2 || c < ' ' || c == 0x7f {
				return nil, false
			}
			i += 2
		}
		dst = append(dst, c)
	}
	return dst, true
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// clean removes empty, "." and ".." segments in place. The end of a path that
// names a folder stays "/".
func clean(path []byte) ([]byte, bool) {
	out := path[:1] // the leading "/"
	rest := path[1:]
	for len(rest) > 0 {
		segment, tail, more := bytes.Cut(rest, []byte("/"))
		rest = tail
		switch string(segment) {
		case "", ".":
		case "..":
			if len(out) == 1 {
				return nil, false
			}
			out = out[:bytes.LastIndexByte(out[:len(out)-1], '/')+1]
		default:
			// out is never longer than what was read, so this moves bytes down only.
			out = append(out, segment...)
			if more {
				out = append(out, '/')
			}
		}
	}
	return out, true
}

// appendEscapedPath writes a decoded path for a Location header.
func appendEscapedPath(dst, path []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range path {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', bytes.IndexByte([]byte("/-._~!$&'()*+,;=:@"), c) >= 0:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// hostName takes the port and a final dot from a Host and makes it lower case.
// An IPv6 address loses its brackets. "" is no name: the default site.
func hostName(raw []byte) (string, bool) {
	if len(raw) > 300 {
		return "", false
	}
	name := raw
	if len(raw) > 0 && raw[0] == '[' {
		end := bytes.IndexByte(raw, ']')
		if end < 0 || !goodPort(raw[end+1:]) {
			return "", false
		}
		name = raw[1:end]
	} else if i := bytes.IndexByte(raw, ':'); i >= 0 {
		if !goodPort(raw[i:]) {
			return "", false
		}
		name = raw[:i]
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == ':' && raw[0] == '[') {
			return "", false
		}
	}
	name = bytes.TrimSuffix(name, []byte("."))
	return string(bytes.ToLower(name)), true
}

// goodPort accepts "", ":" and ":80".
func goodPort(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' || len(b) > 6 {
		return false
	}
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
