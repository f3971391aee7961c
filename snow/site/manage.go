package site

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rain/store"
)

// Info describes a site.
type Info struct {
	Host     string        `json:"host"`
	Default  bool          `json:"default"`
	Version  uint64        `json:"version"`
	Files    int           `json:"files"`
	Versions []VersionInfo `json:"versions"` // rising; Version is among them
}

// VersionInfo describes a kept version of a site.
type VersionInfo struct {
	Version   uint64    `json:"version"`
	Published time.Time `json:"published"`
	Files     int       `json:"files"`
}

// List returns all sites by host.
func (p *Publisher) List(ctx context.Context) ([]Info, error) {
	var def pointer
	if _, _, err := readJSON(ctx, p.store, defaultKey, &def); err != nil {
		return nil, err
	}
	var out []Info
	err := p.hosts(func(host string) error {
		cur, _, err := readCurrent(ctx, p.store, host)
		if err != nil || cur.Host == "" || cur.Removed {
			return err
		}
		info := Info{Host: host, Default: host == def.Host, Version: cur.Version}
		for _, v := range cur.Versions {
			info.Versions = append(info.Versions, VersionInfo{v.Version, v.Published, v.Files})
			if v.Version == cur.Version {
				info.Files = v.Files
			}
		}
		out = append(out, info)
		return nil
	})
	return out, err
}

// hosts calls f for each host that has a HOST/current, in rising order. It steps
// over the blobs of a site: "0" is the character behind "/".
func (p *Publisher) hosts(f func(host string) error) error {
	for after := ""; ; {
		infos, _, err := p.store.List(Bucket, "", after, 1)
		if isAbsent(err) || err == nil && len(infos) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("site: listing the sites: %w", err)
		}
		host, _, _ := strings.Cut(infos[0].Key, "/")
		if CheckHost(host) == nil {
			if err := f(host); err != nil {
				return err
			}
		}
		after = host + "0"
	}
}

// Rollback serves an older kept version again; version 0 is the one before the
// version that is served.
func (p *Publisher) Rollback(ctx context.Context, host string, to uint64) (Result, error) {
	if err := CheckHost(host); err != nil {
		return Result{}, err
	}
	for range commitTries {
		cur, etag, err := readCurrent(ctx, p.store, host)
		if err != nil {
			return Result{}, err
		}
		if etag == "" || cur.Removed {
			return Result{}, fmt.Errorf("site: %s: %w", host, ErrNoSite)
		}
		v, ok := cur.find(to)
		if to == 0 {
			i := slices.IndexFunc(cur.Versions, func(v version) bool { return v.Version == cur.Version })
			if ok = i > 0; ok {
				v = cur.Versions[i-1]
			}
		}
		if !ok {
			return Result{}, fmt.Errorf("site: %s, version %d: %w", host, to, ErrNoVersion)
		}
		if _, err := readManifest(ctx, p.store, host, v); err != nil {
			return Result{}, err
		}
		cur.Version = v.Version
		done, err := p.swap(ctx, &cur, etag)
		if err != nil {
			return Result{}, err
		}
		if done {
			return Result{Host: host, Version: v.Version, Files: v.Files}, nil
		}
	}
	return Result{}, fmt.Errorf("site: rolling back %s: %w", host, ErrBusy)
}

// Remove takes a site away: from its first step on nobody is served by it.
func (p *Publisher) Remove(ctx context.Context, host string) error {
	if err := CheckHost(host); err != nil {
		return err
	}
	for range commitTries {
		cur, etag, err := readCurrent(ctx, p.store, host)
		if err != nil {
			return err
		}
		if etag == "" {
			return fmt.Errorf("site: %s: %w", host, ErrNoSite)
		}
		gone := current{Host: host, Removed: true, Sweep: map[string]string{}}
		prefix := blobKey(host, "")
		if err := p.each(prefix, func(info store.Info) error {
			gone.Sweep[info.Key[len(prefix):]] = info.ETag
			return nil
		}); err != nil {
			return err
		}
		done, err := p.swap(ctx, &gone, etag)
		if err != nil {
			return err
		}
		if done {
			return p.bury(ctx, host, cur.Versions, gone.Sweep)
		}
	}
	return fmt.Errorf("site: removing %s: %w", host, ErrBusy)
}

// bury deletes what a removed site leaves, HOST/current last.
func (p *Publisher) bury(ctx context.Context, host string, versions []version, sweep map[string]string) error {
	var def pointer
	info, found, err := readJSON(ctx, p.store, defaultKey, &def)
	if err != nil {
		return err
	}
	if found && def.Host == host {
		if err := p.delete(ctx, defaultKey, info.ETag); err != nil {
			return err
		}
	}
	p.clean(ctx, host, versions, sweep)
	cur, etag, err := readCurrent(ctx, p.store, host)
	if err != nil || !cur.Removed {
		return err // published again meanwhile
	}
	return p.delete(ctx, currentKey(host), etag)
}
