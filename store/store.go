package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// MaxList is the most that one List returns.
const MaxList = 10000

// Store is one node's share of the cluster's objects. Its methods may be called
// by any number of goroutines.
type Store struct {
	cfg    Config
	ring   Ring
	peers  Peers
	log    *slog.Logger
	now    func() time.Time
	table  *catalog.Table
	disk   *disk
	bodies *bodies
	cache  *cache

	windows *windowCache
	decoded *decodedFiles
	speeds  *speeds
	codes   sync.Map     // [2]int -> array.Code
	batches sync.Pool    // of *batch
	wides   sync.Pool    // of *wide
	raws    [3]sync.Pool // of *[]byte

	holdOrphans func() time.Time            // see HoldOrphans
	opsUnderWay func(yield func(op []byte)) // see HoldNamed

	places  atomic.Pointer[places]
	outside outside
	flights map[catalog.Sum]*flight
	// flightMu guards flights.
	flightMu   sync.Mutex
	placeMu    sync.Mutex // who replaces places holds it
	verifySoon chan catalog.Sum
	repairNow  chan struct{}
	pollNow    chan struct{}

	moveNow  chan struct{}
	moving   mover
	away     absences
	pins     *pins
	jobs     *jobs
	retryAll atomic.Bool // the repair forgets what failed lately

	puts, putFailures, checksumFailures, repaired, hedges atomic.Int64
}

// New opens the folder and registers the store's services. Run does what goes
// on in the background.
func New(cfg Config, deps Deps, log *slog.Logger) (*Store, error) {
	return newStore(cfg, deps, log, osFS{}, time.Now)
}

func newStore(cfg Config, deps Deps, log *slog.Logger, fsys filesystem, now func() time.Time) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, ring: deps.Ring, peers: deps.Peers, log: log, now: now,
		cache:      newCache(cfg.CacheBytes),
		decoded:    newDecodedFiles(cfg.DecodedBytes),
		speeds:     newSpeeds(),
		flights:    map[catalog.Sum]*flight{},
		verifySoon: make(chan catalog.Sum, 64),
		repairNow:  make(chan struct{}, 1),
		pollNow:    make(chan struct{}, 1),
		moveNow:    make(chan struct{}, 1),
		pins:       newPins(),
		jobs:       newJobs(),
	}
	s.windows = newWindowCache(cfg.WindowBytes, s.freeRaw)
	s.places.Store(&places{})
	s.table = catalog.New(func(c catalog.Change) {
		s.pins.change(c)
		if s.bodies.change(c) {
			s.kickRepair()
		}
	})
	s.bodies = newBodies(s.table.Now, deps.Ring.Self(), now)
	var err error
	if s.disk, err = openDisk(fsys, cfg.Dir, cfg.ReserveBytes); err != nil {
		return nil, err
	}
	if err := s.scan(); err != nil {
		return nil, err
	}
	deps.Services.Handle(servicePut, s.handlePut)
	deps.Services.Handle(serviceGet, s.handleGet)
	deps.Services.Handle(serviceLack, s.handleLack)
	deps.Services.Handle(serviceCare, s.handleCare)
	return s, nil
}

// scan takes in the bodies that an earlier life left on the disk.
func (s *Store) scan() error {
	root := filepath.Join(s.cfg.Dir, "objects")
	for i := range 256 {
		sub := hex.EncodeToString([]byte{byte(i)})
		list, err := s.disk.fs.list(filepath.Join(root, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue // no body went there yet
		}
		if err != nil {
			return fmt.Errorf("store: look for bodies: %w", err)
		}
		for _, e := range list {
			raw, err := hex.DecodeString(e.Name())
			if err != nil || len(raw) != len(catalog.Sum{}) || raw[0] != byte(i) || !e.Type().IsRegular() {
				s.log.Warn("not a body, left alone", slog.String("file", filepath.Join(root, sub, e.Name())))
				continue
			}
			st, err := e.Info()
			if err != nil {
				return fmt.Errorf("store: look for bodies: %w", err)
			}
			s.bodies.add(catalog.Sum(raw), st.Size(), false)
		}
	}
	return nil
}

// Rider is the catalog; the ring's host calls it.
func (s *Store) Rider() ring.Rider { return rider{s.table, s} }

type rider struct {
	*catalog.Table
	s *Store
}

// View takes note of who is there, to tell how many copies there are.
func (r rider) View(_ uint64, v ring.View, _ ring.Instant) {
	in := func(id ring.NodeID) bool { _, ok := v.ByID(id); return ok }
	r.s.keepPlaces(in)
	r.s.speeds.keep(in)
	kick(r.s.pollNow)
	kick(r.s.repairNow)
	kick(r.s.moveNow)
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *Store) kickRepair() { kick(s.repairNow) }

func (s *Store) ready() error {
	if err := s.ring.Ready(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// waitReady gives the ring PeerStall to come back: on a busy machine a node is
// without a lease for moments, and its clients need not see that.
func (s *Store) waitReady(ctx context.Context) error {
	end := time.Now().Add(s.cfg.PeerStall)
	err := s.ready()
	for err != nil && time.Now().Before(end) && rest(ctx, viewPoll) {
		err = s.ready()
	}
	return err
}

func checkNames(bucket, key string) error {
	if err := catalog.CheckBucket(bucket); err != nil {
		return fmt.Errorf("%w: %w", ErrBadName, err)
	}
	if err := catalog.CheckKey(key); err != nil {
		return fmt.Errorf("%w: %w", ErrBadName, err)
	}
	return nil
}

// CheckUserBucket reports whether a user may name a bucket so: reserved names,
// those that begin with a dot, are for the programs themselves.
func CheckUserBucket(name string) error {
	if err := catalog.CheckBucket(name); err != nil {
		return fmt.Errorf("%w: %w", ErrBadName, err)
	}
	if catalog.Reserved(name) {
		return fmt.Errorf("store: bucket %q: %w: names that begin with a dot are reserved", name, ErrBadName)
	}
	return nil
}

// find looks an object up. It does not allocate unless it fails.
func (s *Store) find(bucket, key string) (*catalog.Record, error) {
	v := s.table.Now()
	if rec := v.Get(bucket, key); rec != nil {
		return rec, nil
	}
	if err := checkNames(bucket, key); err != nil {
		return nil, err
	}
	if !v.HasBucket(bucket) {
		return nil, fmt.Errorf("store: %s/%s: %w", bucket, key, ErrNoBucket)
	}
	return nil, fmt.Errorf("store: %s/%s: %w", bucket, key, ErrNotFound)
}

// Stat describes the newest version of an object that this member knows. It
// touches neither disk nor network.
func (s *Store) Stat(bucket, key string) (Info, error) {
	rec, err := s.find(bucket, key)
	if err != nil {
		return Info{}, err
	}
	return s.infoOf(bucket, key, rec), nil
}

// infoOf makes a record's Info. Its Meta is shared: it is not to be changed.
func (s *Store) infoOf(bucket, key string, r *catalog.Record) Info {
	stored := s.stored(r)
	return Info{
		Bucket: bucket, Key: key, Version: r.Version, ETag: r.ETag, SHA256: r.Hex, Size: r.Size,
		ContentType: r.Type, Modified: time.Unix(r.Modified, 0).UTC(), Meta: r.Meta,
		N: int(r.N), K: int(r.K), Stored: stored, Survives: max(stored-int(r.K), 0),
	}
}

// Delete removes a key; ifMatch, if not empty, is the ETag it must have.
func (s *Store) Delete(ctx context.Context, bucket, key, ifMatch string) error {
	err := checkNames(bucket, key)
	if err == nil {
		err = s.ready()
	}
	if err == nil {
		var op []byte
		if op, err = catalog.EncodeDelete(bucket, key, catalog.Cond{IfMatch: ifMatch}); err != nil {
			err = fmt.Errorf("%w: %w", ErrBadMeta, err)
		} else {
			_, err = s.propose(ctx, op)
		}
	}
	if err != nil {
		return fmt.Errorf("store: delete %s/%s: %w", bucket, key, err)
	}
	return nil
}

// CreateBucket makes a bucket with the cluster's code; one that is there is left
// as it is.
func (s *Store) CreateBucket(ctx context.Context, name string) (created bool, err error) {
	return s.CreateBucketCode(ctx, name, Code{})
}

// CreateBucketCode makes a bucket whose larger objects have that code.
func (s *Store) CreateBucketCode(ctx context.Context, name string, c Code) (created bool, err error) {
	return s.MakeBucket(ctx, name, BucketSpec{Code: c})
}

// Buckets are the names of the users' buckets, ascending.
func (s *Store) Buckets() []string {
	var out []string
	for _, b := range s.table.Now().Buckets() {
		if !catalog.Reserved(b) {
			out = append(out, b)
		}
	}
	return out
}

// List returns up to limit objects (0: 1000) of a bucket whose keys begin with
// prefix and come after the key after, ascending by bytes. next, if not empty,
// is the after of the next page.
func (s *Store) List(bucket, prefix, after string, limit int) (page []Info, next string, err error) {
	v := s.table.Now()
	if err := catalog.CheckBucket(bucket); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrBadName, err)
	}
	if !v.HasBucket(bucket) {
		return nil, "", fmt.Errorf("store: list %s: %w", bucket, ErrNoBucket)
	}
	if limit <= 0 {
		limit = 1000
	}
	limit = min(limit, MaxList)
	v.List(bucket, prefix, after, func(key string, r *catalog.Record) bool {
		if len(page) == limit {
			next = page[limit-1].Key
			return false
		}
		page = append(page, s.infoOf(bucket, key, r))
		return true
	})
	return page, next, nil
}

// Status is what operators want to know of a store.
type Status struct {
	Objects          int
	Bytes            int64 // of all objects
	StoredBytes      int64 // of their bodies, each counted once
	Missing          int   // bodies and symbols that this node should have and lacks
	MissingBytes     int64
	Moving           int           // of Missing: symbols to be taken over from nodes that left or stay away
	RepairLeftBytes  int64         // that are still to be written here: what is missing and what is taken over
	RepairETA        time.Duration // at the allowed rate
	Disk             DiskState
	ChecksumFailures int64
	RepairedBytes    int64
	Puts             int64
	PutFailures      int64
	Hedges           int64 // units that were asked for elsewhere, as a member was late
}

// Status describes this node's share.
func (s *Store) Status() Status {
	v := s.table.Now()
	_, n, size := s.bodies.lacks(0, nil)
	moving, left := int(s.moving.columns.Load()), s.moving.bytes.Load()
	return Status{
		Objects: v.Objects(), Bytes: v.Size(), StoredBytes: v.StoredBytes(),
		Missing: n + moving, MissingBytes: size, Moving: moving, RepairLeftBytes: size + left,
		RepairETA:        time.Duration(float64(s.bodies.repairBytes()+left) / float64(s.cfg.RepairBytesPerSecond) * float64(time.Second)),
		Disk:             s.disk.status(),
		ChecksumFailures: s.checksumFailures.Load(), RepairedBytes: s.repaired.Load(),
		Puts: s.puts.Load(), PutFailures: s.putFailures.Load(),
		Hedges: s.hedges.Load(),
	}
}

// Missing is the number of bodies and symbols that this node should have and lacks.
func (s *Store) Missing() int { return int(s.bodies.lacking.Load()) }

// Run does what goes on in the background until ctx is done: it fetches missing
// bodies, removes orphans, looks for bad copies and asks the other members what
// they lack.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){s.repairLoop, s.orphanLoop, s.spentLoop, s.scrubLoop, s.verifyLoop, s.pollLoop, s.decodeLoop, s.moveLoop, s.checkLoop, s.rewriteLoop} {
		wg.Go(func() { f(ctx) })
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
