package admin

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"time"

	"rain/snow/effect"
	"rain/snow/site"
	"rain/store"
)

// Deps is what the server needs from the layers around it. Status must be
// there; without one of the others its endpoints answer 404. All methods may be
// called by many goroutines at once.
type Deps struct {
	Status  StatusSource
	Store   ObjectStore
	Symbols Symbols
	Keeper  Keeper
	Sites   Sites
	Videos  Videos
	Cluster Cluster
	Fault   Fault
	// Membership is how nodes come and go.
	Membership Membership
	Settings   Settings
	Metrics    func(io.Writer) // Prometheus text, with HELP and TYPE
	// Fresh, if not nil, makes reads linearizable: given the version of what was
	// read (0: nothing is there), it returns when no node can answer with an older
	// one any more. With ErrReadAgain it must be read anew; with another error the
	// answer may be an old one.
	Fresh func(ctx context.Context, version uint64) error
	// Effects carries out writes with an Idempotency-Key, which needs Store to
	// be a Preparer; nil: they are refused.
	Effects Effects
	// Viewed, if not nil, hears of each part of an object that was asked for with
	// a SessionHeader.
	Viewed  func(session []byte, bucket, key string, off, n int64, client netip.Addr)
	Live    LiveSource
	Origins func() []string // admin URLs of the cluster's nodes: their pages may ask this node, with the token
	UI      fs.FS           // the built page with its index.html; an empty one: the page says that it is missing
	Links   func(history bool) LinksAnswer
}

// StatusSource tells how the node is.
type StatusSource interface {
	Status() Status
	// Ready is nil as a member of the primary view with lease and store, else
	// the reason why not.
	Ready() error
	// Events returns the events with an id above after, oldest first.
	Events(after uint64) []Event
}

// ObjectStore is the distributed store.
type ObjectStore interface {
	Put(ctx context.Context, bucket, key string, body io.Reader, opt store.PutOptions) (info store.Info, created bool, err error)
	Open(ctx context.Context, bucket, key string) (*store.Object, error)
	Stat(bucket, key string) (store.Info, error)
	Delete(ctx context.Context, bucket, key, ifMatch string) error
	List(bucket, prefix, after string, limit int) (infos []store.Info, next string, err error)
	Buckets() []string
	CreateBucket(ctx context.Context, name string) (created bool, err error)
}

// Preparer is a store that can leave a write's last step to the queue.
type Preparer interface {
	PreparePut(ctx context.Context, bucket, key string, body io.Reader, opt store.PutOptions) (*store.Prepared, error)
	PrepareDelete(bucket, key, ifMatch string) (*store.Prepared, error)
}

// Effects runs effects, each once; *effect.Service is one, made with ObjectEffect.
type Effects interface {
	Do(ctx context.Context, e effect.Effect, req *effect.Request, prepare func(ctx context.Context, known bool) error) (effect.Outcome, error)
}

// Sites publishes websites; *site.Publisher is one.
type Sites interface {
	// Have returns those of the hashes whose bodies must be uploaded first.
	Have(ctx context.Context, host string, sha256 []string) (missing []string, err error)
	// PutBlob stores one body and checks it against its hash.
	PutBlob(ctx context.Context, host, sha256 string, body io.Reader) error
	// Commit makes the manifest the site's current version, at once everywhere.
	Commit(ctx context.Context, host string, m site.Manifest, asDefault bool) (site.Result, error)
	List(ctx context.Context) ([]site.Info, error)
	// Rollback goes to an older version; 0 is the one before the current one.
	Rollback(ctx context.Context, host string, version uint64) (site.Result, error)
	Remove(ctx context.Context, host string) error
}

// Cluster acts on nodes and addresses, named as in Status.
type Cluster interface {
	// Drain hands the node's addresses over. It may return ErrWrongNode, and the
	// client then asks that node itself.
	Drain(ctx context.Context, node string) error
	Undrain(ctx context.Context, node string) error
	MoveVIP(ctx context.Context, addr, node string) error
}

// Fault makes this node fail on purpose. The server calls it only if its Config
// allows faults. Link "" means all links; peer is a node's name.
type Fault interface {
	// Cut drops what goes from this node to peer and, unless oneWay, what comes.
	// Connections over the link get no byte through until Heal, in either case.
	Cut(peer, link string, oneWay bool) error
	Heal(peer, link string, oneWay bool) error
	Drop(peer string, percent float64) error  // both ways; 0 ends it
	Delay(peer string, d time.Duration) error // each datagram, each way
	Clear() error
	// Crash and Freeze are SIGKILL and SIGSTOP to this process. The server calls
	// them a moment after it sent its answer.
	Crash() error
	Freeze() error
}

// Errors that the layers above may return, wrapped with what and why.
var (
	ErrReadAgain  = errors.New("this node had no lease while it was read; read again")
	ErrWrongNode  = errors.New("ask that node at its own admin address")
	ErrNotFound   = errors.New("not found")
	ErrBadInput   = errors.New("bad input")
	ErrConflict   = errors.New("conflict with what is there or running")
	ErrNotAllowed = errors.New("not allowed")
)
