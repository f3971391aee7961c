package site

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"rain/snow/httpfile"
	"rain/store"
)

// Host names a site to look up. Keep it: looking up by a kept Host allocates nothing.
type Host struct {
	name    string
	current string // the key; "": no site can have the name
}

// NewHost prepares a name for lookups. It may be a name that no site can have.
func NewHost(name string) *Host {
	h := &Host{name: name}
	if CheckHost(name) == nil {
		h.current = currentKey(name)
	}
	return h
}

// Site is one version of one site, immutable.
type Site struct {
	Host    string
	Version uint64
	files   map[string]*Entry
	etag    string // of HOST/current
	removed bool
}

// Entry is one file of a site.
type Entry struct {
	File     httpfile.File // without Small
	variants [4]*Entry     // by Coding; [Identity] is the entry itself
	sizes    [4]int64
	key      string // of the blob
	sha      string
	hot      hot
}

// Sum is the SHA-256 of the file's content.
func (e *Entry) Sum() (sum [32]byte) {
	if len(e.sha) != hex.EncodedLen(len(sum)) {
		return sum
	}
	if _, err := hex.Decode(sum[:], []byte(e.sha)); err != nil {
		return [32]byte{} // no hash of ours: it names nothing
	}
	return sum
}

// Lookup finds a file by its clean relative path; nil if there is none.
func (s *Site) Lookup(path []byte) *Entry { return s.files[string(path)] }

// Has reports whether there is a file.
func (s *Site) Has(path string) bool { return s.files[path] != nil }

// Choose gives the variant of e that suits an Accept-Encoding header best.
func (e *Entry) Choose(accept []byte) *Entry {
	if !e.File.VaryCoding {
		return e
	}
	return e.variants[httpfile.Choose(accept, e.sizes)]
}

// Reader finds sites and keeps those in use parsed. A lookup asks the store's
// catalog each time, so a publish counts at once, but parses only what changed.
// Every site that is in the store may be kept: the memory is bounded by the sites.
type Reader struct {
	content Content
	timeout time.Duration
	cache   *cache
	sites   atomic.Pointer[map[string]*Site]
	def     atomic.Pointer[defaultHost]

	mu      sync.Mutex // guards loading and changes of sites
	loading map[string]*load
}

type defaultHost struct {
	etag string
	host *Host
}

type load struct {
	done chan struct{}
	site *Site
	err  error
}

// NewReader makes a Reader that keeps at most cacheBytes of small files in
// memory and at most handles large files open, and that waits at most timeout
// for the store to find an object.
func NewReader(c Content, cacheBytes int64, handles int, timeout time.Duration) *Reader {
	r := &Reader{content: c, timeout: timeout, cache: newCache(cacheBytes, handles), loading: map[string]*load{}}
	r.sites.Store(&map[string]*Site{})
	return r
}

// Close gives all open files back that no response uses.
func (r *Reader) Close() { r.cache.close() }

// Site finds the site of a host, or the default site. ErrNoSite: there is neither.
func (r *Reader) Site(ctx context.Context, h *Host) (*Site, error) {
	s, err := r.own(ctx, h)
	if !errors.Is(err, ErrNoSite) {
		return s, err
	}
	info, err := r.content.Stat(Bucket, defaultKey)
	if isAbsent(err) {
		return nil, ErrNoSite
	}
	if err != nil {
		return nil, fmt.Errorf("site: looking for the default site: %w", err)
	}
	d := r.def.Load()
	if d == nil || d.etag != info.ETag {
		var p pointer
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		info, found, err := readJSON(ctx, r.content, defaultKey, &p)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, ErrNoSite
		}
		d = &defaultHost{etag: info.ETag, host: NewHost(p.Host)}
		r.def.Store(d)
	}
	return r.own(ctx, d.host)
}

// own finds the site of h itself.
func (r *Reader) own(ctx context.Context, h *Host) (*Site, error) {
	if h.current == "" {
		return nil, ErrNoSite
	}
	for tries := 0; ; tries++ {
		info, err := r.content.Stat(Bucket, h.current)
		if err != nil {
			if isAbsent(err) {
				if (*r.sites.Load())[h.name] != nil {
					r.replace(h.name, nil)
				}
				return nil, ErrNoSite
			}
			return nil, fmt.Errorf("site: looking for %s: %w", h.name, err)
		}
		s := (*r.sites.Load())[h.name]
		if s == nil || s.etag != info.ETag {
			s, err = r.load(ctx, h.name)
			if errors.Is(err, store.ErrNotFound) && tries < 3 {
				continue // dropped by publishers since
			}
			if err != nil {
				return nil, err
			}
			// A load that was under way may have read what was there before a
			// publish that this request must already see.
			if s.etag != info.ETag && tries < 3 {
				continue
			}
		}
		if s.removed {
			return nil, ErrNoSite
		}
		return s, nil
	}
}

// load parses a site once for all that wait for it.
func (r *Reader) load(ctx context.Context, host string) (*Site, error) {
	r.mu.Lock()
	l := r.loading[host]
	if l == nil {
		l = &load{done: make(chan struct{})}
		r.loading[host] = l
		r.mu.Unlock()
		l.site, l.err = r.parse(host)
		if l.err == nil {
			r.replace(host, l.site)
		}
		r.mu.Lock()
		delete(r.loading, host)
		r.mu.Unlock()
		close(l.done)
		return l.site, l.err
	}
	r.mu.Unlock()
	select {
	case <-l.done:
		return l.site, l.err
	case <-ctx.Done():
		return nil, fmt.Errorf("site: waiting for %s: %w", host, ctx.Err())
	}
}

// replace makes s the parsed site of host (nil: none) and lets go of what the
// former one had open.
func (r *Reader) replace(host string, s *Site) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := (*r.sites.Load())[host]
	next := maps.Clone(*r.sites.Load())
	if s == nil {
		delete(next, host)
	} else {
		next[host] = s
	}
	r.sites.Store(&next)
	if old == nil {
		return
	}
	for path, e := range old.files {
		if s == nil || s.files[path] != e {
			r.cache.drop(e)
		}
	}
}

func (r *Reader) parse(host string) (*Site, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout) // for all that wait, not for one request
	defer cancel()
	cur, etag, err := readCurrent(ctx, r.content, host)
	if err != nil {
		return nil, err
	}
	if etag == "" || cur.Removed {
		return &Site{Host: host, etag: etag, removed: true}, nil
	}
	v, ok := cur.find(cur.Version)
	if !ok {
		return nil, fmt.Errorf("site: %s serves version %d, which is not kept: %w", host, cur.Version, ErrNoVersion)
	}
	m, err := readManifest(ctx, r.content, host, v)
	if err != nil {
		return nil, err
	}
	return build(host, etag, v, m, (*r.sites.Load())[host]), nil
}

// build makes the entries of a manifest, and reuses those of old that are the same.
func build(host, etag string, v version, m *Manifest, old *Site) *Site {
	s := &Site{Host: host, Version: v.Version, etag: etag, files: make(map[string]*Entry, len(m.Files))}
	for path, f := range m.Files {
		s.files[path] = newEntry(host, path, f, v.Published)
	}
	for path, e := range s.files {
		for _, c := range httpfile.Encoded() {
			side := s.files[path+c.Suffix()]
			if side == nil {
				continue
			}
			variant := &Entry{File: side.File, key: side.key, sha: side.sha}
			variant.File.ContentType, variant.File.Coding, variant.File.VaryCoding = e.File.ContentType, c, true
			e.File.VaryCoding = true
			e.variants[c], e.sizes[c] = variant, variant.File.Size
		}
	}
	if old == nil {
		return s
	}
	for path, e := range s.files {
		if was := old.files[path]; was != nil && same(was, e) {
			s.files[path] = was
		}
	}
	return s
}

// same reports whether two entries give equal responses, in every coding.
func same(a, b *Entry) bool {
	if a.sha != b.sha || a.File.ETag != b.File.ETag || a.File.ContentType != b.File.ContentType ||
		a.File.LastModified != b.File.LastModified || a.sizes != b.sizes {
		return false
	}
	for _, c := range httpfile.Encoded() {
		if a.variants[c] != nil && a.variants[c].sha != b.variants[c].sha {
			return false
		}
	}
	return true
}

func newEntry(host, path string, f File, published time.Time) *Entry {
	kind := f.Type
	if kind == "" {
		kind = TypeByPath(path)
	}
	// A date in the future would make caches believe themselves newer than us.
	modified := f.Modified.UTC().Truncate(time.Second)
	if modified.IsZero() || modified.After(published) || modified.Year() < 1970 {
		modified = published
	}
	e := &Entry{
		File: httpfile.File{
			ETag: etagOf(f.SHA256, kind), ContentType: kind, Size: f.Size,
			Modified: modified, LastModified: string(fasthttp.AppendHTTPDate(nil, modified)),
		},
		key: blobKey(host, f.SHA256), sha: f.SHA256, sizes: [4]int64{f.Size, -1, -1, -1},
	}
	e.variants[httpfile.Identity] = e
	return e
}

// etagOf depends on the bytes and the type: half of the SHA-256, and a checksum
// of the type.
func etagOf(sha, kind string) string {
	sum := crc32.ChecksumIEEE([]byte(kind))
	tag := hex.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return `"` + sha[:32] + tag + `"`
}
