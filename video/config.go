package video

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"time"

	"rain/store"
)

// Bucket is where films lie in the store.
const Bucket = ".video"

// MaxExtra bounds a poster and captions.
const MaxExtra = 4 << 20

// Config is what an operator may set.
type Config struct {
	// CacheBytes bounds the cut segments kept in memory. Default 32 MiB.
	CacheBytes int64
	// Tables is of how many films the sample tables are kept. Default 8.
	Tables int
	// OpenTimeout is how long the store may take to open a film. Default 3s: the
	// player then asks another node.
	OpenTimeout time.Duration
}

// DefaultConfig has the documented defaults.
func DefaultConfig() Config {
	return Config{CacheBytes: 32 << 20, Tables: 8, OpenTimeout: 3 * time.Second}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.CacheBytes < 0 {
		errs = append(errs, fmt.Errorf("video: cache_bytes is %d; must not be negative", c.CacheBytes))
	}
	if c.Tables < 1 {
		errs = append(errs, fmt.Errorf("video: tables is %d; at least 1 is needed", c.Tables))
	}
	if c.OpenTimeout <= 0 {
		errs = append(errs, fmt.Errorf("video: open_timeout is %v; must be above 0", c.OpenTimeout))
	}
	return errors.Join(errs...)
}

// Content is what the films lie in; *store.Store is one.
type Content interface {
	Put(ctx context.Context, bucket, key string, body io.Reader, opt store.PutOptions) (info store.Info, created bool, err error)
	Open(ctx context.Context, bucket, key string) (*store.Object, error)
	Stat(bucket, key string) (store.Info, error)
	Delete(ctx context.Context, bucket, key, ifMatch string) error
	List(bucket, prefix, after string, limit int) (infos []store.Info, next string, err error)
	CreateBucket(ctx context.Context, name string) (created bool, err error)
}

// Deps are what the server stands on.
type Deps struct {
	Content Content
	// Hosts are the virtual addresses, as host:port.
	Hosts func() []string
	// Player is the built player (player.js, player.css); an empty one is told of
	// on the page, which then plays film.mp4.
	Player fs.FS
	// Viewers hears who watches what; nil: nobody does.
	Viewers Viewers
	Now     func() time.Time
	NewID   func() string // a text that never repeats, of letters and digits
}

// Errors, wrapped with what and why. A film that is refused comes with
// film.ErrUnfit.
var (
	ErrNotFound = errors.New("no such film")
	ErrBadName  = errors.New("bad name of a film")
	ErrBadExtra = errors.New("not usable as this")
	ErrChanged  = errors.New("the film was replaced meanwhile")
)

var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckName reports whether a film may have the name.
func CheckName(name string) error {
	if !goodName.MatchString(name) {
		return fmt.Errorf("video: %w: %q; take 1 to 64 letters, digits, dots, dashes and underscores, first a letter or digit", ErrBadName, name)
	}
	return nil
}
