package site

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"rain/store"
)

// KeepVersions is how many versions of a site stay in the store.
const KeepVersions = 5

// commitTries bounds how often a commit starts anew because another one won.
const commitTries = 20

// Errors of publishing. The store's errors come through, wrapped.
var (
	ErrNoSite    = errors.New("no such site; see 'rainctl site ls'")
	ErrNoVersion = errors.New("no such version is kept; see 'rainctl site ls'")
	ErrMissing   = errors.New("files are missing in the store; upload them and commit again")
	ErrBadBlob   = errors.New("the bytes do not have the hash they were sent under")
	ErrBusy      = errors.New("too many publishers at once; try again")
)

// Store is what publishing asks of the content store.
type Store interface {
	Content
	Put(ctx context.Context, bucket, key string, body io.Reader, opt store.PutOptions) (store.Info, bool, error)
	Delete(ctx context.Context, bucket, key, ifMatch string) error
	List(bucket, prefix, after string, limit int) ([]store.Info, string, error)
	CreateBucket(ctx context.Context, name string) (bool, error)
}

// Publisher changes sites. Many may do so at once, on any node.
type Publisher struct {
	store Store
	now   func() time.Time // for the dates in Versions only
	token func() string    // a text that never repeats, in the cluster's life
}

// NewPublisher makes a Publisher. token gives a text that never repeats; it
// makes the ETag of each upload its own.
func NewPublisher(s Store, now func() time.Time, token func() string) *Publisher {
	return &Publisher{store: s, now: now, token: token}
}

// Result says what a publish did.
type Result struct {
	Host      string `json:"host"`
	Version   uint64 `json:"version"`
	Files     int    `json:"files"`
	SentBytes int64  `json:"sent_bytes"`
}

// MissingError names blobs that a commit needs and the store lacks.
type MissingError struct {
	Host   string
	SHA256 []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("site: %s: %d %v, first %s", e.Host, len(e.SHA256), ErrMissing, e.SHA256[0])
}

// Unwrap gives ErrMissing.
func (e *MissingError) Unwrap() error { return ErrMissing }

// Have returns those of the hashes whose blobs must be uploaded before a commit.
func (p *Publisher) Have(ctx context.Context, host string, shas []string) (missing []string, err error) {
	if err := CheckHost(host); err != nil {
		return nil, err
	}
	if len(shas) > MaxFiles {
		return nil, fmt.Errorf("site: %d hashes asked for; at most %d are allowed", len(shas), MaxFiles)
	}
	cur, _, err := readCurrent(ctx, p.store, host)
	if err != nil {
		return nil, err
	}
	for _, sha := range shas {
		if err := CheckSHA256(sha); err != nil {
			return nil, err
		}
		ok, _, err := p.usable(host, sha, &cur)
		if err != nil {
			return nil, err
		}
		if !ok {
			missing = append(missing, sha)
		}
	}
	return missing, nil
}

// usable reports whether a commit on top of cur may name the blob, and its size.
func (p *Publisher) usable(host, sha string, cur *current) (bool, int64, error) {
	info, err := p.store.Stat(Bucket, blobKey(host, sha))
	if isAbsent(err) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("site: looking for blob %s of %s: %w", sha, host, err)
	}
	if info.SHA256 != sha {
		return false, 0, nil // an upload went wrong or is being undone
	}
	return cur.Sweep[sha] != info.ETag, info.Size, nil
}

// PutBlob stores a file's bytes under their hash, if they have it.
func (p *Publisher) PutBlob(ctx context.Context, host, sha string, body io.Reader) error {
	if err := errors.Join(CheckHost(host), CheckSHA256(sha)); err != nil {
		return err
	}
	key := blobKey(host, sha)
	// The type carries the token into the ETag: see the package comment.
	opt := store.PutOptions{ContentType: "application/x-rain-blob; upload=" + p.token(), Size: -1, SHA256: sha}
	info, err := p.put(ctx, key, body, opt)
	if errors.Is(err, store.ErrBadBody) {
		return fmt.Errorf("site: blob %s of %s: %w: %w", sha, host, ErrBadBlob, err)
	}
	if err != nil {
		return err
	}
	if info.SHA256 == sha {
		return nil
	}
	err = fmt.Errorf("site: blob %s of %s has the hash %s: %w", sha, host, info.SHA256, ErrBadBlob)
	if e := p.delete(ctx, key, info.ETag); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// put stores an object, making the bucket if this is the cluster's first site.
func (p *Publisher) put(ctx context.Context, key string, body io.Reader, opt store.PutOptions) (store.Info, error) {
	if _, err := p.store.Stat(Bucket, key); errors.Is(err, store.ErrNoBucket) {
		if _, err := p.store.CreateBucket(ctx, Bucket); err != nil {
			return store.Info{}, fmt.Errorf("site: making the bucket %s: %w", Bucket, err)
		}
	}
	info, _, err := p.store.Put(ctx, Bucket, key, body, opt)
	if err != nil {
		return store.Info{}, fmt.Errorf("site: storing %s: %w", key, err)
	}
	return info, nil
}

func (p *Publisher) putJSON(ctx context.Context, key string, v any, opt store.PutOptions) (store.Info, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return store.Info{}, fmt.Errorf("site: writing %s: %w", key, err)
	}
	if opt.ContentType == "" {
		opt.ContentType = "application/json"
	}
	opt.Size = int64(len(b))
	return p.put(ctx, key, bytes.NewReader(b), opt)
}

// delete removes an object if it is still as etag says.
func (p *Publisher) delete(ctx context.Context, key, etag string) error {
	err := p.store.Delete(ctx, Bucket, key, etag)
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrPrecondition) {
		return nil
	}
	return fmt.Errorf("site: deleting %s: %w", key, err)
}

// swap puts HOST/current if it still has etag ("": is not there).
func (p *Publisher) swap(ctx context.Context, cur *current, etag string) (bool, error) {
	_, err := p.putJSON(ctx, currentKey(cur.Host), cur, store.PutOptions{IfMatch: etag, IfAbsent: etag == ""})
	if errors.Is(err, store.ErrPrecondition) {
		return false, nil
	}
	return err == nil, err
}

// Commit makes m the version of host that is served, once all its blobs are
// stored, and with asDefault makes host answer for unknown hosts. If blobs are
// missing the error is a *MissingError. Result.SentBytes is 0; the uploader knows it.
func (p *Publisher) Commit(ctx context.Context, host string, m Manifest, asDefault bool) (Result, error) {
	if err := errors.Join(CheckHost(host), m.Validate()); err != nil {
		return Result{}, err
	}
	for range commitTries {
		res, done, err := p.commitOnce(ctx, host, &m)
		if err != nil {
			return Result{}, err
		}
		if !done {
			continue
		}
		if asDefault {
			if _, err := p.putJSON(ctx, defaultKey, pointer{Host: host}, store.PutOptions{}); err != nil {
				return Result{}, fmt.Errorf("site: %s is published, but not as the default; publish again: %w", host, err)
			}
		}
		return res, nil
	}
	return Result{}, fmt.Errorf("site: publishing %s: %w", host, ErrBusy)
}

func (p *Publisher) commitOnce(ctx context.Context, host string, m *Manifest) (Result, bool, error) {
	cur, etag, err := readCurrent(ctx, p.store, host)
	if err != nil {
		return Result{}, false, err
	}
	if err := p.complete(host, m, &cur); err != nil {
		return Result{}, false, err
	}
	next := current{Host: host, Version: 1}
	if n := len(cur.Versions); n > 0 {
		next.Version = cur.Versions[n-1].Version + 1
	}
	info, err := p.putManifest(ctx, host, &next.Version, m)
	if err != nil {
		return Result{}, false, err
	}
	next.Versions = append(append(next.Versions, cur.Versions...), version{
		Version: next.Version, Published: p.now().UTC().Truncate(time.Second), Files: len(m.Files), ManifestSHA: info.SHA256, Tag: info.ETag,
	})
	dropped := next.Versions[:max(0, len(next.Versions)-KeepVersions)]
	next.Versions = next.Versions[len(dropped):]
	ok := false
	next.Sweep, err = p.garbage(ctx, &cur, &next, m)
	switch {
	case err == nil:
		ok, err = p.swap(ctx, &next, etag)
	case errors.Is(err, store.ErrNotFound):
		err = nil // another publisher dropped a version meanwhile: begin anew
	default:
		// Dropped, and a publisher that will lose has taken its number for a moment.
		if _, now, e := readCurrent(ctx, p.store, host); e == nil && now != etag {
			err = nil
		}
	}
	if err != nil || !ok {
		// Not named by any version: it may go. After an unknown outcome it may be
		// named, so it stays then; the next commit's number passes over it.
		if err == nil {
			err = p.delete(ctx, manifestKey(host, next.Version), info.ETag)
		}
		return Result{}, false, err
	}
	p.clean(ctx, host, dropped, next.Sweep)
	return Result{Host: host, Version: next.Version, Files: len(m.Files)}, true, nil
}

// putManifest stores m under the first free number from *v on.
func (p *Publisher) putManifest(ctx context.Context, host string, v *uint64, m *Manifest) (store.Info, error) {
	for range commitTries {
		opt := store.PutOptions{IfAbsent: true, ContentType: "application/json; upload=" + p.token()}
		info, err := p.putJSON(ctx, manifestKey(host, *v), m, opt)
		if !errors.Is(err, store.ErrPrecondition) {
			return info, err
		}
		*v++ // of another publisher, or left over from one that died
	}
	return store.Info{}, fmt.Errorf("site: publishing %s: %w", host, ErrBusy)
}

// complete checks that all blobs of m are stored, with the sizes it says, and
// that none is about to be deleted.
func (p *Publisher) complete(host string, m *Manifest, cur *current) error {
	var missing []string
	asked := make(map[string]bool, len(m.Files))
	for path, f := range m.Files {
		if asked[f.SHA256] {
			continue
		}
		asked[f.SHA256] = true
		ok, size, err := p.usable(host, f.SHA256, cur)
		if err != nil {
			return err
		}
		if !ok {
			missing = append(missing, f.SHA256)
		} else if size != f.Size {
			return fmt.Errorf("site: file %q: the manifest says %d bytes, its blob has %d: %w", path, f.Size, size, ErrBadBlob)
		}
	}
	if len(missing) > 0 {
		return &MissingError{Host: host, SHA256: missing}
	}
	return nil
}
