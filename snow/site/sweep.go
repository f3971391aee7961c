package site

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rain/store"
)

// orphanAge is how long an uploaded blob may wait for its commit.
const orphanAge = 24 * time.Hour

// page is how many objects are listed at once.
const page = 1000

// garbage lists what no version of next needs: blobs that versions of cur
// needed, blobs still listed for deletion, and old uploads without a commit.
func (p *Publisher) garbage(ctx context.Context, cur, next *current, newest *Manifest) (map[string]string, error) {
	kept, err := p.needed(ctx, next, newest)
	if err != nil {
		return nil, err
	}
	dropped := map[string]bool{}
	for _, v := range cur.Versions {
		if _, stays := next.find(v.Version); stays {
			continue
		}
		m, err := readManifest(ctx, p.store, next.Host, v)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, f := range m.Files {
			dropped[f.SHA256] = true
		}
	}
	sweep := map[string]string{}
	old := p.now().Add(-orphanAge)
	prefix := blobKey(next.Host, "")
	err = p.each(prefix, func(info store.Info) error {
		sha := info.Key[len(prefix):]
		listed := cur.Sweep[sha] == info.ETag
		if !kept[sha] && (dropped[sha] || listed || info.Modified.Before(old)) {
			sweep[sha] = info.ETag
		}
		return nil
	})
	return sweep, err
}

// needed are the hashes that the versions of c name; m is the newest of them,
// if it is known.
func (p *Publisher) needed(ctx context.Context, c *current, m *Manifest) (map[string]bool, error) {
	kept := map[string]bool{}
	for i, v := range c.Versions {
		manifest := m
		if m == nil || i < len(c.Versions)-1 {
			var err error
			if manifest, err = readManifest(ctx, p.store, c.Host, v); err != nil {
				return nil, err
			}
		}
		for _, f := range manifest.Files {
			kept[f.SHA256] = true
		}
	}
	return kept, nil
}

// clean deletes what a commit dropped. Its errors are of no account: the list
// stays in HOST/current, and the next commit tries again.
func (p *Publisher) clean(ctx context.Context, host string, dropped []version, sweep map[string]string) {
	for _, v := range dropped {
		_ = p.delete(ctx, manifestKey(host, v.Version), v.Tag)
	}
	for sha, etag := range sweep {
		_ = p.delete(ctx, blobKey(host, sha), etag)
	}
}

// each calls f for every object under prefix.
func (p *Publisher) each(prefix string, f func(store.Info) error) error {
	for after := ""; ; {
		infos, next, err := p.store.List(Bucket, prefix, after, page)
		if errors.Is(err, store.ErrNoBucket) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("site: listing %s: %w", prefix, err)
		}
		for _, info := range infos {
			if err := f(info); err != nil {
				return err
			}
		}
		if next == "" || len(infos) == 0 {
			return nil
		}
		after = next
	}
}
