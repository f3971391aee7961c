package catalog

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of names and of what rides with an object.
const (
	MaxBucket      = 63
	MaxKey         = 1024
	MaxType        = 255
	MaxMeta        = 32
	MaxMetaName    = 255
	MaxMetaBytes   = 2048
	MaxBuckets     = 4096
	MaxColumns     = 32      // of a striped body
	maxUnit        = 1 << 20 // stripe unit in bytes
	maxSize        = 1 << 50 // of a body; more is a damaged number
	minBucket      = 3
	reservedPrefix = "."
)

// ErrName says that a bucket's or key's name is not allowed.
var ErrName = errors.New("bad bucket or key")

// Reserved reports whether only the programs themselves may use the bucket.
func Reserved(bucket string) bool { return strings.HasPrefix(bucket, reservedPrefix) }

// CheckBucket reports whether the name may be a bucket's, reserved or not.
func CheckBucket(name string) error {
	if len(name) < minBucket || len(name) > MaxBucket {
		return fmt.Errorf("catalog: bucket %.80q: %w: a bucket has %d to %d bytes", name, ErrName, minBucket, MaxBucket)
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case (c == '.' || c == '-') && i > 0, c == '.' && name[1] != '.':
		default:
			return fmt.Errorf("catalog: bucket %q: %w: a bucket is of a-z, 0-9, '.' and '-', and begins with a letter or digit", name, ErrName)
		}
	}
	return nil
}

// CheckKey reports whether the name may be a key.
func CheckKey(key string) error {
	switch {
	case key == "" || len(key) > MaxKey:
		return fmt.Errorf("catalog: key %.80q: %w: a key has 1 to %d bytes", key, ErrName, MaxKey)
	case !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0:
		return fmt.Errorf("catalog: key %.80q: %w: a key is UTF-8 without NUL", key, ErrName)
	}
	return nil
}
