package guestbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"rain/ring"
	"rain/snow/effect"
	"rain/store"
)

// Limits and names that do not change while a cluster lives.
const (
	Path     = "/guestbook"
	Bucket   = "guestbook"
	Scope    = "guestbook" // of the keys: one book, by whatever host it is reached
	MaxText  = 4 << 10     // bytes
	PageSize = 100

	keyMeta      = "guestbook-key"
	inputVersion = 1
)

// Store is what the book needs of the distributed store.
type Store interface {
	CreateBucket(ctx context.Context, name string) (created bool, err error)
	PrepareAppend(ctx context.Context, bucket, prefix string, body io.Reader, opt store.PutOptions) (*store.Prepared, error)
	Open(ctx context.Context, bucket, key string) (*store.Object, error)
	List(bucket, prefix, after string, limit int) (infos []store.Info, next string, err error)
	ListBack(bucket, before string, limit int) (infos []store.Info, more bool)
	Count(bucket string) int
}

// Doer runs effects; *effect.Service is one.
type Doer interface {
	Do(ctx context.Context, e effect.Effect, req *effect.Request, prepare func(ctx context.Context, known bool) error) (effect.Outcome, error)
}

// Config of a book.
type Config struct {
	// MaxEntries bounds the book. Default 100000.
	MaxEntries int
	// MaxReaders bounds the lists made at once on a node. Default 8.
	MaxReaders int
	// Timeout bounds a list, and the storing of a text. Default 10s.
	Timeout time.Duration
}

// DefaultConfig has the documented defaults.
func DefaultConfig() Config {
	return Config{MaxEntries: 100_000, MaxReaders: 8, Timeout: 10 * time.Second}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.MaxEntries < 1 {
		errs = append(errs, fmt.Errorf("guestbook: max_entries is %d; at least 1 is allowed", c.MaxEntries))
	}
	if c.MaxReaders < 1 {
		errs = append(errs, fmt.Errorf("guestbook: max_readers is %d; at least 1 is allowed", c.MaxReaders))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("guestbook: timeout is %v; more than 0 is allowed", c.Timeout))
	}
	return errors.Join(errs...)
}

// Deps are what a book stands on.
type Deps struct {
	Store  Store
	Do     Doer
	NewKey func() string               // a key that never repeats, for the form
	Taker  func(id ring.NodeID) string // the node's name, for X-Rain-Node of repeats; nil: the header is left alone
	Log    *slog.Logger
}

// Book is the guestbook of one node. Post is its effect.
type Book struct {
	cfg     Config
	deps    Deps
	post    Post
	readers chan struct{}
}

// New makes a book. The effect must be known to deps.Do.
func New(cfg Config, deps Deps) (*Book, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Book{cfg: cfg, deps: deps, readers: make(chan struct{}, cfg.MaxReaders)}, nil
}

// Post is the effect of writing into the book.
//
// Input: version u8 = 1 | key length u8 | key | the catalog's op
type Post struct{}

// Name implements effect.Effect.
func (Post) Name() string { return "guestbook" }

// encodeInput makes the input of a post. The key has at most 255 bytes.
func encodeInput(key string, op []byte) []byte {
	b := append(make([]byte, 0, 2+len(key)+len(op)), inputVersion, byte(len(key)))
	return append(append(b, key...), op...)
}

var errInput = errors.New("guestbook: not the input of a post, or of another version of the program")

// Run implements effect.Effect: the stored text goes into the book.
func (Post) Run(input []byte) (effect.Action, error) {
	if len(input) < 2 || input[0] != inputVersion || len(input) <= 2+int(input[1]) {
		return effect.Action{}, errInput
	}
	n := 2 + int(input[1])
	return effect.Action{Rider: ring.RiderCatalog, Op: input[n:], Note: input[2:n]}, nil
}

// written is the answer to a post.
type written struct {
	ID  uint64 `json:"id"`
	Key string `json:"key"`
}

// Answer implements effect.Effect. The note is the key.
func (Post) Answer(note, result []byte) (effect.Response, error) {
	id, _, err := store.Result(result)
	if err != nil {
		return effect.Response{}, fmt.Errorf("guestbook: the book did not take the text: %w", err)
	}
	body, err := json.Marshal(written{id, string(note)})
	if err != nil {
		return effect.Response{}, fmt.Errorf("guestbook: %w", err)
	}
	return effect.Response{
		Status: http.StatusCreated, Body: append(body, '\n'),
		Header: []effect.Field{
			{Name: "Content-Type", Value: "application/json"}, {Name: "Cache-Control", Value: "no-store"},
			{Name: "Location", Value: fmt.Sprintf("%s#e%d", Path, id)},
		},
	}, nil
}

// errFull and errText are refusals of a post.
var (
	errFull = errors.New("the book is full")
	errText = errors.New("a text has 1 to 4096 bytes of UTF-8 without control characters other than tab and line ends")
)

// prepare stores the text and makes the effect's input.
func (b *Book) prepare(ctx context.Context, req *effect.Request, text string) error {
	if b.deps.Store.Count(Bucket) >= b.cfg.MaxEntries {
		return errFull
	}
	if _, err := b.deps.Store.CreateBucket(ctx, Bucket); err != nil {
		return notNow(err)
	}
	key := req.Key
	if key == "" {
		key = req.ID.String()
	}
	p, err := b.deps.Store.PrepareAppend(ctx, Bucket, "", strings.NewReader(text), store.PutOptions{
		ContentType: "text/plain; charset=utf-8", Meta: map[string]string{keyMeta: key}, Size: int64(len(text)),
	})
	if err != nil {
		return notNow(err)
	}
	req.Input = encodeInput(key, p.Op)
	return nil
}

// notNow says that nothing has begun, where the store cannot take a text now.
func notNow(err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("guestbook: %w: %w", effect.ErrNotNow, err)
	}
	return fmt.Errorf("guestbook: %w", err)
}

// fingerprint is what a repeat must be equal in: the text, however it was sent.
func fingerprint(req *effect.Request, text string) {
	var f effect.Fingerprint
	for _, part := range []string{"POST", Path, text} {
		f.Add([]byte(part))
	}
	req.Fingerprint = f.Sum()
}
