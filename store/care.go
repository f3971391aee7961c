package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// What an operator may have the nodes do.
const (
	CareStatus = "status" // only tell
	CareCheck  = "check"  // read all pieces and hold them to their checksums
	CareRepair = "repair" // look for what is missing at once, also for what failed lately
	CareGC     = "gc"     // remove what no object refers to
	careOpen   = "open"   // between nodes: which orphans are open for reading
)

// maxOpen is how many open orphans a node names.
const maxOpen = 4096

// careTime bounds a node's answer; removing many files takes its time.
const careTime = 5 * time.Second

// ErrBusy says that such a job runs already.
var ErrBusy = errors.New("that runs already")

// CareOrder is what a node is asked to do.
type CareOrder struct {
	Do string `json:"do"`
	// GraceMS, for gc: how long ago an orphan must have been given up or asked
	// for. What came or was asked for by a put within the last minute stays
	// whatever it says: the put may not be in the catalog yet. -1: the nodes' own.
	GraceMS int64 `json:"grace_ms,omitempty"`
}

// CheckReport is about the newest check of a node.
type CheckReport struct {
	Running bool      `json:"running"`
	Started time.Time `json:"started"`
	TookMS  int64     `json:"took_ms"`
	Pieces  int       `json:"pieces"` // files read: small bodies and symbols
	Bytes   int64     `json:"bytes"`
	Bad     int       `json:"bad"` // of them; they are made anew
	Error   string    `json:"error,omitempty"`
}

// RewriteReport is about the newest rewrite that was started on a node.
type RewriteReport struct {
	Running bool   `json:"running"`
	Bucket  string `json:"bucket"`
	TookMS  int64  `json:"took_ms"`
	Objects int    `json:"objects"` // that were put again
	Error   string `json:"error,omitempty"`
}

// CareReport is what a node tells of the health of its share.
type CareReport struct {
	Missing       int            `json:"missing_symbols"`
	LeftBytes     int64          `json:"repair_left_bytes"` // to be written to this node's disk
	ETAMS         int64          `json:"repair_eta_ms"`
	Moving        int            `json:"moving_symbols"` // of Missing: to be taken over from other nodes
	RepairedBytes int64          `json:"repaired_bytes"` // since the process began
	Pieces        int            `json:"pieces"`
	Bytes         int64          `json:"stored_bytes"`
	Orphans       int            `json:"orphans"` // of Pieces
	OrphanBytes   int64          `json:"orphan_bytes"`
	Removed       int            `json:"removed"` // by this gc
	RemovedBytes  int64          `json:"removed_bytes"`
	Kept          string         `json:"kept,omitempty"` // why gc removed nothing
	Check         *CheckReport   `json:"check,omitempty"`
	Rewrite       *RewriteReport `json:"rewrite,omitempty"`
	Open          []string       `json:"open,omitempty"` // open orphans, hex
}

// NodeCare is a node's report, or why there is none.
type NodeCare struct {
	ID    ring.NodeID `json:"-"`
	Node  string      `json:"node"`
	Error string      `json:"error,omitempty"`
	CareReport
}

// jobs are what runs on an operator's word.
type jobs struct {
	mu       sync.Mutex
	check    CheckReport
	rewrite  RewriteReport
	known    [2]bool // a check, a rewrite was ever started
	checks   chan struct{}
	rewrites chan string
}

func newJobs() *jobs { return &jobs{checks: make(chan struct{}, 1), rewrites: make(chan string, 1)} }

// Care has every member do what the order says, and returns what each one
// answered, those of the layout that are away included.
func (s *Store) Care(ctx context.Context, o CareOrder) ([]NodeCare, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	members := s.ring.Members()
	ids := slices.Concat(members, s.storage(), []ring.NodeID{s.ring.Self()})
	slices.Sort(ids)
	ids = slices.Compact(ids)
	out := make([]NodeCare, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		out[i] = NodeCare{ID: id, Node: id.String()}
		switch {
		case id == s.ring.Self():
			out[i].CareReport = s.care(ctx, o)
		case !slices.Contains(members, id):
			out[i].Error = "is not in the view: down, or not reachable from here"
		default:
			wg.Go(func() {
				r, err := s.askCare(ctx, id, o)
				if out[i].CareReport = r; err != nil {
					out[i].Error = err.Error()
				}
			})
		}
	}
	wg.Wait()
	return out, nil
}

func (o CareOrder) check() error {
	switch o.Do {
	case CareStatus, CareCheck, CareRepair, CareGC, careOpen:
	default:
		return fmt.Errorf("store: order %.40q: %w", o.Do, errWire)
	}
	if o.GraceMS < -1 || o.GraceMS > (365*24*time.Hour).Milliseconds() {
		return fmt.Errorf("store: a grace of %d ms: %w", o.GraceMS, errWire)
	}
	return nil
}

// care does an order on this node.
func (s *Store) care(ctx context.Context, o CareOrder) CareReport {
	var r CareReport
	switch o.Do {
	case careOpen:
		for _, body := range s.pins.orphaned(s.table.Now(), s.now()) {
			if r.Open = append(r.Open, body.String()); len(r.Open) > maxOpen {
				break
			}
		}
		return r
	case CareCheck:
		s.startCheck()
	case CareRepair:
		s.retryAll.Store(true)
		s.kickRepair()
		kick(s.pollNow)
		kick(s.moveNow)
	case CareGC:
		grace := time.Duration(o.GraceMS) * time.Millisecond
		if o.GraceMS < 0 {
			grace = s.cfg.OrphanGrace
		}
		n, size, err := s.gc(ctx, grace)
		r.Removed, r.RemovedBytes = n, size
		if err != nil {
			r.Kept = err.Error()
		}
	}
	s.toTake(s.plan(), func(columnMove) bool { return false }) // the status is as of now
	s.describe(&r)
	return r
}

// describe fills in how this node's share is.
func (s *Store) describe(r *CareReport) {
	st := s.Status()
	r.Missing, r.LeftBytes, r.ETAMS, r.RepairedBytes = st.Missing, st.RepairLeftBytes, st.RepairETA.Milliseconds(), st.RepairedBytes
	r.Moving = st.Moving
	r.Pieces, r.Bytes, r.Orphans, r.OrphanBytes = s.bodies.sums()
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	if s.jobs.known[0] {
		c := s.jobs.check
		if c.Running {
			c.TookMS = s.now().Sub(c.Started).Milliseconds()
		}
		r.Check = &c
	}
	if s.jobs.known[1] {
		w := s.jobs.rewrite
		r.Rewrite = &w
	}
}

// startCheck begins a check, unless one runs.
func (s *Store) startCheck() {
	j := s.jobs
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.check.Running {
		return
	}
	j.known[0] = true
	j.check = CheckReport{Running: true, Started: s.now().UTC()}
	kick(j.checks)
}

// StartRewrite begins Rewrite in the background; Care tells how it goes.
func (s *Store) StartRewrite(bucket string) error {
	if err := catalog.CheckBucket(bucket); err != nil {
		return fmt.Errorf("%w: %w", ErrBadName, err)
	}
	if !s.table.Now().HasBucket(bucket) {
		return fmt.Errorf("store: rewrite %s: %w", bucket, ErrNoBucket)
	}
	j := s.jobs
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rewrite.Running {
		return fmt.Errorf("store: rewrite of bucket %s: %w", j.rewrite.Bucket, ErrBusy)
	}
	j.known[1] = true
	j.rewrite = RewriteReport{Running: true, Bucket: bucket}
	j.rewrites <- bucket // there is room: none is running
	return nil
}

func (s *Store) checkLoop(ctx context.Context) {
	for {
		select {
		case <-s.jobs.checks:
			s.runCheck(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// runCheck reads all that is here. Bad pieces are noted, and made anew by the
// repair.
func (s *Store) runCheck(ctx context.Context) {
	j := s.jobs
	for _, name := range s.bodies.all() {
		l, size, _ := s.bodies.get(name)
		if l == nil {
			continue // collected meanwhile
		}
		err := s.verify(ctx, name, nil)
		if ctx.Err() != nil {
			break
		}
		j.mu.Lock()
		j.check.Pieces++
		j.check.Bytes += size
		if err != nil {
			j.check.Bad++
		}
		j.mu.Unlock()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.check.Running = false
	j.check.TookMS = s.now().Sub(j.check.Started).Milliseconds()
	if err := ctx.Err(); err != nil {
		j.check.Error = "the node stops: " + err.Error()
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "check done", slog.Int("pieces", j.check.Pieces), slog.Int("bad", j.check.Bad))
}

func (s *Store) rewriteLoop(ctx context.Context) {
	for {
		select {
		case bucket := <-s.jobs.rewrites:
			start := s.now()
			n, err := s.Rewrite(ctx, bucket)
			s.jobs.mu.Lock()
			r := &s.jobs.rewrite
			r.Running, r.Objects, r.TookMS = false, n, s.now().Sub(start).Milliseconds()
			if err != nil {
				r.Error = err.Error()
			}
			s.jobs.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// gc removes orphans older than the grace at once.
func (s *Store) gc(ctx context.Context, grace time.Duration) (n int, size int64, err error) {
	if err := s.ready(); err != nil {
		return 0, 0, fmt.Errorf("without a quorum the catalog may be old: %w", err)
	}
	return s.collect(ctx, s.now().Add(-grace))
}

// collect removes what has been an orphan since before then, and is open nowhere.
func (s *Store) collect(ctx context.Context, before time.Time) (n int, size int64, err error) {
	if s.holdOrphans != nil {
		// What an effect under way may yet put was stored before it began.
		if t := s.holdOrphans(); !t.IsZero() && t.Add(-s.cfg.OrphanGrace).Before(before) {
			before = t.Add(-s.cfg.OrphanGrace)
		}
	}
	list := s.bodies.orphans(before)
	if len(list) == 0 {
		return 0, 0, nil
	}
	open, err := s.openAnywhere(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, name := range list {
		if ctx.Err() != nil {
			break
		}
		if body, _ := partOf(name); open[body] {
			continue
		}
		_, bytes, _ := s.bodies.get(name)
		if s.removeOrphan(ctx, name, before, false) {
			n++
			size += bytes
		}
	}
	return n, size, ctx.Err()
}

// openAnywhere asks all members which orphans they have open. It fails if one
// does not answer.
func (s *Store) openAnywhere(ctx context.Context) (map[catalog.Sum]bool, error) {
	open := map[catalog.Sum]bool{}
	for _, m := range s.ring.Members() {
		if m == s.ring.Self() {
			continue
		}
		r, err := s.askCare(ctx, m, CareOrder{Do: careOpen})
		if err != nil {
			return nil, fmt.Errorf("store: %s did not tell which deleted objects it is still reading: %w", m, err)
		}
		if len(r.Open) > maxOpen {
			return nil, fmt.Errorf("store: %s is still reading more than %d deleted objects", m, maxOpen)
		}
		for _, h := range r.Open {
			sum, err := parseSum(h)
			if err != nil {
				return nil, fmt.Errorf("store: %s: %w", m, err)
			}
			open[sum] = true
		}
	}
	// This node's own come last: what is opened meanwhile is in the catalog.
	for _, body := range s.pins.orphaned(s.table.Now(), s.now()) {
		open[body] = true
	}
	return open, nil
}
