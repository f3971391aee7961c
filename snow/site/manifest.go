package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"rain/store"
)

// Manifest is one version of a site: its files by clean relative path.
type Manifest struct {
	Files map[string]File `json:"files"`
}

// File is one file of a manifest.
type File struct {
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Type     string    `json:"type,omitempty"` // "": by the path
	Modified time.Time `json:"modified"`
}

// Validate checks every name and limit of m.
func (m *Manifest) Validate() error {
	if len(m.Files) == 0 {
		return errors.New("site: the manifest has no files; a site needs at least one")
	}
	if len(m.Files) > MaxFiles {
		return fmt.Errorf("site: the manifest has %d files; at most %d are allowed", len(m.Files), MaxFiles)
	}
	for p, f := range m.Files {
		if err := errors.Join(CheckPath(p), CheckSHA256(f.SHA256), checkType(f.Type)); err != nil {
			return fmt.Errorf("site: file %q: %w", p, err)
		}
		if f.Size < 0 {
			return fmt.Errorf("site: file %q has size %d", p, f.Size)
		}
	}
	return nil
}

// current is the object HOST/current.
type current struct {
	Host     string            `json:"host"`
	Version  uint64            `json:"version"`
	Versions []version         `json:"versions"`        // rising
	Sweep    map[string]string `json:"sweep,omitempty"` // blob hash -> ETag of what is to be deleted
	Removed  bool              `json:"removed,omitempty"`
}

type version struct {
	Version     uint64    `json:"version"`
	Published   time.Time `json:"published"`
	Files       int       `json:"files"`
	ManifestSHA string    `json:"manifest_sha"`
	Tag         string    `json:"manifest_etag"` // so that a late delete hits no other manifest
}

func (c *current) find(v uint64) (version, bool) {
	for _, known := range c.Versions {
		if known.Version == v {
			return known, true
		}
	}
	return version{}, false
}

// pointer is the object _default/current.
type pointer struct {
	Host string `json:"host"`
}

// Content is what reading a site asks of the store.
type Content interface {
	Open(ctx context.Context, bucket, key string) (*store.Object, error)
	Stat(bucket, key string) (store.Info, error)
}

// isAbsent: without the bucket there is no site at all, which is no fault.
func isAbsent(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoBucket)
}

// readJSON reads a small object whole. found is false if it is not there.
func readJSON(ctx context.Context, c Content, key string, into any) (info store.Info, found bool, err error) {
	obj, err := c.Open(ctx, Bucket, key)
	if isAbsent(err) {
		return store.Info{}, false, nil
	}
	if err != nil {
		return store.Info{}, false, fmt.Errorf("site: reading %s: %w", key, err)
	}
	defer obj.Body.Close()
	if obj.Size > MaxManifest {
		return store.Info{}, false, fmt.Errorf("site: %s has %d bytes; at most %d are expected; publish the site again", key, obj.Size, MaxManifest)
	}
	b := make([]byte, obj.Size)
	if n, err := obj.Body.ReadAt(b, 0); n < len(b) {
		return store.Info{}, false, fmt.Errorf("site: reading %s: %d of %d bytes: %w", key, n, len(b), errors.Join(err, io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(b, into); err != nil {
		return store.Info{}, false, fmt.Errorf("site: %s is not as it should be; publish the site again: %w", key, err)
	}
	return obj.Info, true, nil
}

func readCurrent(ctx context.Context, c Content, host string) (cur current, etag string, err error) {
	info, found, err := readJSON(ctx, c, currentKey(host), &cur)
	if err != nil || !found {
		return current{}, "", err
	}
	return cur, info.ETag, nil
}

func readManifest(ctx context.Context, c Content, host string, v version) (*Manifest, error) {
	var m Manifest
	info, found, err := readJSON(ctx, c, manifestKey(host, v.Version), &m)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("site: the manifest of version %d of %s is not there: %w", v.Version, host, store.ErrNotFound)
	case info.SHA256 != v.ManifestSHA:
		return nil, fmt.Errorf("site: the manifest of version %d of %s is another than was published; publish the site again", v.Version, host)
	}
	return &m, nil
}
