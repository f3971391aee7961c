package effect

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"rain/snow/queue"
)

// MaxKey is how many bytes an idempotency key may have.
const MaxKey = 128

// ErrKey says that an Idempotency-Key cannot be used.
var ErrKey = errors.New(`an Idempotency-Key is 1 to 128 visible ASCII characters, as a quoted string or bare, without '"', '\', ',' and ';' if bare`)

// ParseKey reads the value of an Idempotency-Key header: a string as RFC 8941
// has it, "8e03978e", or bare, 8e03978e; both are the same key. A string may
// hold spaces. Parameters are refused: none are defined.
func ParseKey(value []byte) (string, error) {
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for n := len(value); n > 0 && (value[n-1] == ' ' || value[n-1] == '\t'); n = len(value) {
		value = value[:n-1]
	}
	if len(value) > 2*MaxKey+2 {
		return "", fmt.Errorf("effect: a key of %d bytes: %w", len(value), ErrKey)
	}
	var key []byte
	if len(value) > 0 && value[0] == '"' {
		var ok bool
		if key, ok = unquote(value); !ok {
			return "", fmt.Errorf("effect: key %.40q: %w", value, ErrKey)
		}
	} else {
		for _, c := range value {
			if c <= ' ' || c > '~' || c == '"' || c == '\\' || c == ',' || c == ';' {
				return "", fmt.Errorf("effect: key %.40q: %w", value, ErrKey)
			}
		}
		key = value
	}
	if len(key) == 0 || len(key) > MaxKey {
		return "", fmt.Errorf("effect: a key of %d characters: %w", len(key), ErrKey)
	}
	return string(key), nil
}

// unquote reads an sf-string that is all of v: in quotes, with \" and \\.
func unquote(v []byte) (s []byte, ok bool) {
	for i := 1; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			return s, i == len(v)-1
		case c == '\\':
			if i++; i >= len(v) || v[i] != '"' && v[i] != '\\' {
				return nil, false
			}
			s = append(s, v[i])
		case c < ' ' || c > '~':
			return nil, false
		default:
			s = append(s, c)
		}
	}
	return nil, false
}

// keySum is the key as the queue knows it.
func keySum(key string) queue.Sum {
	return queue.Sum(sha256.Sum256([]byte("rain idempotency key 1" + key)))
}

// Fingerprint is what a repeat of a request must be equal in: its parts, each
// with its length, in order. The zero value is ready.
type Fingerprint struct{ h hash.Hash }

// Add takes in one part.
func (f *Fingerprint) Add(part []byte) {
	if f.h == nil {
		f.h = sha256.New()
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(part)))
	f.h.Write(n[:])
	f.h.Write(part)
}

// Sum is the fingerprint of what was added.
func (f *Fingerprint) Sum() queue.Sum {
	if f.h == nil {
		f.h = sha256.New()
	}
	return queue.Sum(f.h.Sum(nil))
}
