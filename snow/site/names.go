package site

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"
	"unicode/utf8"
)

// Bucket holds all sites.
const Bucket = ".sites"

// Limits of a site.
const (
	MaxFiles    = 100_000
	MaxPath     = 512
	MaxManifest = 64 << 20 // bytes of a manifest's JSON
)

// ErrBadName says that a host name, path or hash is not allowed.
var ErrBadName = errors.New("bad name")

const defaultKey = "_default/current" // no host name has an underscore

func currentKey(host string) string { return host + "/current" }

func manifestKey(host string, version uint64) string {
	return fmt.Sprintf("%s/manifest/%d", host, version)
}

func blobKey(host, sha string) string { return host + "/blob/" + sha }

// CheckHost refuses what is not a lower-case DNS name or an IP address without
// brackets.
func CheckHost(host string) error {
	if len(host) == 0 || len(host) > 253 {
		return fmt.Errorf("site: host %q has %d bytes; 1 to 253 are allowed: %w", host, len(host), ErrBadName)
	}
	if _, err := netip.ParseAddr(host); err == nil && !strings.Contains(host, "%") {
		return nil
	}
	for label := range strings.SplitSeq(host, ".") {
		if !goodLabel(label) {
			return fmt.Errorf("site: host %q: label %q is not made of a-z, 0-9 and inner hyphens (1 to 63): %w", host, label, ErrBadName)
		}
	}
	return nil
}

func goodLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// CheckPath refuses what is not a clean relative path, such as "a/b.html".
func CheckPath(p string) error {
	switch {
	case len(p) == 0 || len(p) > MaxPath:
		return fmt.Errorf("site: path %q has %d bytes; 1 to %d are allowed: %w", p, len(p), MaxPath, ErrBadName)
	case !utf8.ValidString(p):
		return fmt.Errorf("site: path %q is not UTF-8: %w", p, ErrBadName)
	case p[0] == '/' || path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("site: path %q is not clean and relative: %w", p, ErrBadName)
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return fmt.Errorf("site: path %q has control characters or a backslash: %w", p, ErrBadName)
	}
	return nil
}

// CheckSHA256 refuses what is not 64 lower-case hex digits.
func CheckSHA256(s string) error {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return fmt.Errorf("site: %q is not a SHA-256 in lower-case hex: %w", s, ErrBadName)
	}
	return nil
}

func checkType(t string) error {
	if len(t) > 200 || strings.ContainsFunc(t, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("site: content type %q: at most 200 printable ASCII characters are allowed: %w", t, ErrBadName)
	}
	return nil
}

// TypeByPath is the content type for a file name; it is the same on every
// machine, whatever its own tables say.
func TypeByPath(p string) string {
	switch strings.ToLower(path.Ext(p)) {
	case ".html", ".htm":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".txt", ".log":
		return "text/plain; charset=utf-8"
	case ".md":
		return "text/markdown; charset=utf-8"
	case ".csv":
		return "text/csv; charset=utf-8"
	case ".xml":
		return "application/xml"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".gif":
		return "image/gif"
	case ".webp":
		return "image/webp"
	case ".avif":
		return "image/avif"
	case ".ico":
		return "image/vnd.microsoft.icon"
	case ".woff":
		return "font/woff"
	case ".woff2":
		return "font/woff2"
	case ".ttf":
		return "font/ttf"
	case ".wasm":
		return "application/wasm"
	case ".pdf":
		return "application/pdf"
	case ".mp4", ".m4v":
		return "video/mp4"
	case ".m4a":
		return "audio/mp4"
	case ".webm":
		return "video/webm"
	case ".mp3":
		return "audio/mpeg"
	case ".vtt":
		return "text/vtt; charset=utf-8"
	case ".m3u8":
		return "application/vnd.apple.mpegurl"
	case ".ts":
		return "video/mp2t"
	case ".m4s":
		return "video/iso.segment"
	case ".zip":
		return "application/zip"
	case ".gz":
		return "application/gzip"
	case ".zst":
		return "application/zstd"
	}
	return "application/octet-stream"
}
