package conf

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
)

// Secret is a key or a token. It never shows itself in a log, an error or a
// JSON answer; convert it to []byte or string to use it.
type Secret []byte

func (s Secret) String() string {
	if len(s) == 0 {
		return "(none)"
	}
	return "(secret)"
}

// GoString keeps %#v from showing it.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps slog from showing it.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps encoders from showing it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// KeySize is the length of the cluster key in bytes.
const KeySize = 32

// secrets reads the files that hold the key and the token.
func (b *binder) secrets(f *File) {
	const keyAllowed = "32 bytes in base64 on one line (while the key is being changed a second line); make one with 'rainctl key new FILE' and give every node the same"
	if !b.bad("cluster.key_file") {
		raw, err := b.secret(f, "cluster.key_file", f.Cluster.KeyFile, keyAllowed)
		if err == nil {
			keys, err := ParseKeys(raw)
			if err != nil {
				b.fault("cluster.key_file", keyAllowed, "%s: %v", f.Cluster.KeyFile, err)
			} else {
				f.Cluster.Key, f.Cluster.OldKeys = keys[0], keys[1:]
			}
		}
	}
	if !b.bad("admin.token_file") {
		const allowed = "one line of 16 to 512 printable characters without a space; make one with 'rainctl key new FILE'"
		raw, err := b.secret(f, "admin.token_file", f.Admin.TokenFile, allowed)
		if err != nil {
			return
		}
		token := strings.TrimSpace(string(raw))
		unprintable := strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
		if len(token) < 16 || len(token) > 512 || unprintable {
			b.fault("admin.token_file", allowed, "%s does not hold a token", f.Admin.TokenFile)
			return
		}
		f.Admin.Token = Secret(token)
	}
}

// MaxKeys is how many keys a key file may hold.
const MaxKeys = 3

// ParseKeys reads the content of a key file: a key on each line, the first of
// which seals. The others are accepted, too, while the key is being changed.
func ParseKeys(raw []byte) ([]Secret, error) {
	var keys []Secret
	for line := range strings.Lines(strings.TrimSpace(string(raw))) {
		key, err := ParseKey([]byte(line))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > MaxKeys {
		return nil, fmt.Errorf("conf: %d keys, not 1 to %d", len(keys), MaxKeys)
	}
	return keys, nil
}

// FormatKeys is the content of a file that ParseKeys reads.
func FormatKeys(keys ...Secret) []byte {
	var b []byte
	for _, k := range keys {
		b = append(base64.StdEncoding.AppendEncode(b, k), '\n')
	}
	return b
}

// ParseKey reads one key. Its errors do not show any of it.
func ParseKey(raw []byte) (Secret, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("conf: not base64")
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("conf: a key of %d bytes, not %d", len(key), KeySize)
	}
	return key, nil
}

// secret reads a file that nobody else should read, and warns if others can.
func (b *binder) secret(f *File, at, path, allowed string) ([]byte, error) {
	raw, err := readLimited(path, 4096)
	if err != nil {
		b.fault(at, allowed, "%v", err)
		return nil, err
	}
	// Windows has no such bits: Go reports 0666 for every file there.
	if st, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		f.Warnings = append(f.Warnings, Problem{
			File: b.file, Line: b.lineOf(at), Key: at,
			What:    fmt.Sprintf("%s has mode %04o and others on this host can read or change it", path, st.Mode().Perm()),
			Allowed: "run 'chmod 600 " + path + "'",
		})
	}
	return raw, nil
}
