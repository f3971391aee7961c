package video

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"rain/store"
	"rain/video/film"
)

// Film is what operators and pages are told of a film.
type Film struct {
	Name string
	Key  string // of the file, in Bucket
	film.Index
	Added    time.Time
	Stored   int
	Survives int
	Poster   bool
	Captions []string // their languages; "": not named
}

// entry is the index object of a film.
type entry struct {
	Key   string      `json:"key"`
	Added time.Time   `json:"added"`
	Index *film.Index `json:"film"`

	etag string // of the index object
}

// Server keeps films and serves them. Its methods may be called by any number
// of goroutines. Make it with New.
type Server struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	assets map[string]*asset
	tables tables
	cuts   cuts

	mu      sync.Mutex
	entries map[string]*entry // by name; true as long as the index object has entry.etag
}

// New makes a server.
func New(cfg Config, deps Deps, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, deps: deps, log: log, entries: map[string]*entry{}}
	s.tables.limit = cfg.Tables
	s.cuts.limit = cfg.CacheBytes
	var err error
	if s.assets, err = loadAssets(deps.Player); err != nil {
		return nil, err
	}
	return s, nil
}

// maxEntries bounds the entries in memory; beyond it they are read anew.
const maxEntries = 1024

// find returns the newest entry of a film that this node knows.
func (s *Server) find(ctx context.Context, name string) (*entry, error) {
	if CheckName(name) != nil {
		return nil, fmt.Errorf("video: %q: %w", name, ErrNotFound)
	}
	info, err := s.deps.Content.Stat(Bucket, name+"/index")
	if err != nil {
		return nil, absent(name, err)
	}
	s.mu.Lock()
	e := s.entries[name]
	s.mu.Unlock()
	if e != nil && e.etag == info.ETag {
		return e, nil
	}
	raw, etag, err := s.read(ctx, name+"/index", 8<<20)
	if err != nil {
		return nil, absent(name, err)
	}
	e = &entry{etag: etag, Index: new(film.Index)}
	var wire struct {
		entry
		Index json.RawMessage `json:"film"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return nil, fmt.Errorf("video: the index of %s: %w", name, err)
	}
	e.Key, e.Added = wire.Key, wire.Added
	if e.Index, err = film.ParseIndex(wire.Index); err != nil {
		return nil, fmt.Errorf("video: %s: %w", name, err)
	}
	s.mu.Lock()
	if len(s.entries) >= maxEntries {
		clear(s.entries)
	}
	s.entries[name] = e
	s.mu.Unlock()
	return e, nil
}

// absent turns the store's "not found" into ours.
func absent(name string, err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoBucket) {
		return fmt.Errorf("video: %q: %w", name, ErrNotFound)
	}
	return fmt.Errorf("video: %s: %w", name, err)
}

// read returns a small object.
func (s *Server) read(ctx context.Context, key string, limit int64) (body []byte, etag string, err error) {
	o, err := s.deps.Content.Open(ctx, Bucket, key)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, o.Body.Close()) }()
	if o.Size > limit {
		return nil, "", fmt.Errorf("video: %s has %d bytes, at most %d are allowed", key, o.Size, limit)
	}
	body = make([]byte, o.Size)
	if n, err := o.Body.ReadAt(body, 0); n < len(body) {
		return nil, "", fmt.Errorf("video: read %s: %d of %d bytes: %w", key, n, len(body), err)
	}
	return body, o.ETag, nil
}

// Add takes in a film of size bytes (0 or less: not known) under a name; one of
// that name is replaced. An error that wraps film.ErrUnfit says what was found.
func (s *Server) Add(ctx context.Context, name string, body io.Reader, size int64) (f Film, created bool, err error) {
	if err := CheckName(name); err != nil {
		return Film{}, false, err
	}
	if _, err := s.deps.Content.CreateBucket(ctx, Bucket); err != nil {
		return Film{}, false, fmt.Errorf("video: add %s: %w", name, err)
	}
	old, err := s.find(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Film{}, false, err
	}
	key := name + "/film." + s.deps.NewID()
	info, _, err := s.deps.Content.Put(ctx, Bucket, key, body, store.PutOptions{ContentType: "video/mp4", Size: size})
	if err != nil {
		return Film{}, false, fmt.Errorf("video: add %s: %w", name, err)
	}
	// From here on the time is ours: the client has sent all it has.
	if err = s.commit(ctx, name, key, info, old); err != nil {
		if e := s.deps.Content.Delete(ctx, Bucket, key, ""); e != nil && !errors.Is(e, store.ErrNotFound) {
			s.log.Warn("a refused film is left in the store", slog.String("key", Bucket+"/"+key), slog.Any("err", e))
		}
		return Film{}, false, err
	}
	if old != nil {
		if e := s.deps.Content.Delete(ctx, Bucket, old.Key, ""); e != nil && !errors.Is(e, store.ErrNotFound) {
			s.log.Warn("a replaced film is left in the store", slog.String("key", Bucket+"/"+old.Key), slog.Any("err", e))
		}
	}
	f, err = s.Film(ctx, name)
	return f, old == nil, err
}

// commit checks the stored film and gives it its name.
func (s *Server) commit(ctx context.Context, name, key string, info store.Info, old *entry) (err error) {
	o, err := s.deps.Content.Open(ctx, Bucket, key)
	if err != nil {
		return fmt.Errorf("video: add %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, o.Body.Close()) }()
	m, err := film.Parse(o.Body, o.Size)
	if err != nil {
		return fmt.Errorf("video: add %s: %w", name, err)
	}
	x, err := film.NewIndex(m, info.SHA256)
	if err != nil {
		return fmt.Errorf("video: add %s: %w", name, err)
	}
	raw, err := json.Marshal(entry{Key: key, Added: s.deps.Now().UTC().Truncate(time.Second), Index: x})
	if err != nil {
		return fmt.Errorf("video: add %s: %w", name, err)
	}
	opt := store.PutOptions{ContentType: "application/json", Size: int64(len(raw)), IfAbsent: old == nil}
	if old != nil {
		opt.IfMatch = old.etag
	}
	_, _, err = s.deps.Content.Put(ctx, Bucket, name+"/index", bytes.NewReader(raw), opt)
	if errors.Is(err, store.ErrPrecondition) {
		return fmt.Errorf("video: add %s: %w", name, ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("video: add %s: %w", name, err)
	}
	return nil
}

// Film describes one film.
func (s *Server) Film(ctx context.Context, name string) (Film, error) {
	e, err := s.find(ctx, name)
	if err != nil {
		return Film{}, err
	}
	f := Film{Name: name, Key: e.Key, Index: *e.Index, Added: e.Added}
	if info, err := s.deps.Content.Stat(Bucket, e.Key); err == nil {
		f.Stored, f.Survives = info.Stored, info.Survives
	}
	_, err = s.deps.Content.Stat(Bucket, name+"/poster")
	f.Poster = err == nil
	f.Captions, err = s.languages(ctx, name)
	return f, err
}

// Films lists all films, by name.
func (s *Server) Films(ctx context.Context) ([]Film, error) {
	var out []Film
	for after := ""; ; {
		page, next, err := s.deps.Content.List(Bucket, "", after, 0)
		if errors.Is(err, store.ErrNoBucket) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("video: list: %w", err)
		}
		for _, i := range page {
			name, ok := strings.CutSuffix(i.Key, "/index")
			if !ok || CheckName(name) != nil {
				continue
			}
			f, err := s.Film(ctx, name)
			if errors.Is(err, ErrNotFound) {
				continue // removed just now
			}
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		}
		if next == "" {
			return out, nil
		}
		after = next
	}
}

// Remove takes a film off; who is watching it sees no further segment.
func (s *Server) Remove(ctx context.Context, name string) error {
	if _, err := s.find(ctx, name); err != nil {
		return err
	}
	if err := s.deps.Content.Delete(ctx, Bucket, name+"/index", ""); err != nil {
		return absent(name, err)
	}
	page, _, err := s.deps.Content.List(Bucket, name+"/", "", 0)
	if err != nil {
		return fmt.Errorf("video: remove %s: %w", name, err)
	}
	for _, i := range page {
		if err := s.deps.Content.Delete(ctx, Bucket, i.Key, i.ETag); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrPrecondition) {
			return fmt.Errorf("video: remove %s: its index is gone, %s is left: %w", name, i.Key, err)
		}
	}
	return nil
}

// Attach gives a film its "poster" (a JPEG picture), its "captions" (WebVTT), or
// those of one language, such as "captions.de".
func (s *Server) Attach(ctx context.Context, name, what string, body io.Reader) error {
	if _, err := s.find(ctx, name); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(body, MaxExtra+1))
	if err != nil {
		return fmt.Errorf("video: %s of %s: %w", what, name, err)
	}
	kind := ""
	_, captions := language(what)
	switch {
	case !captions && what != "poster":
		return fmt.Errorf("video: %s: %w: %.60q; attach poster, captions or captions.LANGUAGE, such as captions.de", name, ErrBadExtra, what)
	case len(raw) > MaxExtra:
		return fmt.Errorf("video: %s of %s: %w: more than %d bytes", what, name, ErrBadExtra, MaxExtra)
	case what == "poster" && bytes.HasPrefix(raw, []byte("\xff\xd8\xff")):
		kind = "image/jpeg"
	case captions && bytes.HasPrefix(bytes.TrimPrefix(raw, []byte("\ufeff")), []byte("WEBVTT")):
		kind = "text/vtt; charset=utf-8"
	case what == "poster":
		return fmt.Errorf("video: poster of %s: %w: a JPEG picture is wanted", name, ErrBadExtra)
	default:
		return fmt.Errorf("video: captions of %s: %w: WebVTT is wanted", name, ErrBadExtra)
	}
	_, _, err = s.deps.Content.Put(ctx, Bucket, name+"/"+what, bytes.NewReader(raw), store.PutOptions{ContentType: kind, Size: int64(len(raw))})
	if err != nil {
		return fmt.Errorf("video: %s of %s: %w", what, name, err)
	}
	return nil
}
