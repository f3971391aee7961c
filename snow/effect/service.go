package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rain/ring"
	"rain/snow/queue"
)

// Ledger is what the service needs of the queue on the token.
type Ledger interface {
	// Propose brings an op to the token. It returns the verdict when the op is on
	// a quorum's disks and, with all, when every member has applied it and no
	// former member can answer without it any more. ring.ErrNotPrimary: nothing
	// happened; other errors: the op may yet happen.
	Propose(ctx context.Context, op *queue.Op, all bool) (queue.Verdict, error)
	Self() ring.Member
	// Table is the queue as this node knows it.
	Table() *queue.Table
	// MayAct is nil while this node's lease runs; else it says why not.
	MayAct() error
	Now() ring.Instant
}

// Config of the service.
type Config struct {
	// Timeout is how long a request waits for its outcome once what it needs is
	// stored, and how long a Caller may take. Default 8s.
	Timeout time.Duration
	// LeaseWait is how long a request waits for a late lease. Default 1s.
	LeaseWait time.Duration
	// Attempt bounds one try to bring an op to the token. Default 10s.
	Attempt time.Duration
	// ClaimEvery is how often the service looks for entries that became this
	// node's own. Default 50ms.
	ClaimEvery time.Duration
	// MaxRunning bounds the requests under way on this node. Default 1024.
	MaxRunning int
}

// DefaultConfig has the documented defaults.
func DefaultConfig() Config {
	return Config{Timeout: 8 * time.Second, LeaseWait: time.Second, Attempt: 10 * time.Second, ClaimEvery: 50 * time.Millisecond, MaxRunning: 1024}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"timeout", c.Timeout}, {"lease_wait", c.LeaseWait}, {"attempt", c.Attempt}, {"claim_every", c.ClaimEvery}} {
		if t.d <= 0 || t.d > time.Hour {
			errs = append(errs, fmt.Errorf("effect: %s is %v; more than 0 and at most 1h is allowed", t.name, t.d))
		}
	}
	if c.MaxRunning < 1 {
		errs = append(errs, fmt.Errorf("effect: max_running is %d; at least 1 is allowed", c.MaxRunning))
	}
	return errors.Join(errs...)
}

// Service runs the effects of one node. Its methods may be called by any number
// of goroutines.
type Service struct {
	cfg     Config
	ledger  Ledger
	log     *slog.Logger
	effects map[string]Effect
	count   atomic.Uint64
	slots   chan struct{}
	times   timings
	stats   counters

	mu      sync.Mutex
	stopped bool
	base    context.Context
	stop    context.CancelFunc
	running map[queue.EntryID]bool // begun here, or being finished here
	unsure  map[queue.EntryID]bool // whether they were begun was not heard
	keys    map[string]bool        // scope and key of requests in hand
	doubts  chan struct{}          // unsure has one more
	wg      sync.WaitGroup
}

// entryBase keeps the counters of effects apart from those of streams, which the
// same member counts from 1.
const entryBase = 1 << 40

// New makes a service that knows these effects. Run must follow.
func New(cfg Config, ledger Ledger, effects []Effect, log *slog.Logger) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, ledger: ledger, log: log, effects: map[string]Effect{}, slots: make(chan struct{}, cfg.MaxRunning),
		running: map[queue.EntryID]bool{}, unsure: map[queue.EntryID]bool{}, keys: map[string]bool{},
		doubts: make(chan struct{}, 1),
	}
	for _, e := range effects {
		n := e.Name()
		if n == "" || len(n) > queue.MaxName || s.effects[n] != nil {
			return nil, fmt.Errorf("effect: name %q: names have 1 to %d bytes and are unique", n, queue.MaxName)
		}
		s.effects[n] = e
	}
	s.base, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Do carries out a request with an effect and returns its outcome. prepare, which
// may be nil, sets Input and Fingerprint; with known an outcome is recorded for
// the key, and Fingerprint is enough. ctx bounds the wait, and after prepare so
// does Config.Timeout; what has begun goes on.
func (s *Service) Do(ctx context.Context, e Effect, req *Request, prepare func(ctx context.Context, known bool) error) (Outcome, error) {
	if s.effects[e.Name()] != e {
		return Outcome{}, fmt.Errorf("effect: %q is not one that the service was made with", e.Name())
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return Outcome{}, fmt.Errorf("effect: %d are under way: %w", cap(s.slots), ErrBusy)
	}
	defer func() { <-s.slots }()
	unlock, err := s.lockKey(req)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	req.ID = queue.EntryID{Member: s.ledger.Self(), N: entryBase + s.count.Add(1)}
	known := false
	if req.Key != "" {
		entry := s.ledger.Table().Lookup(req.Scope, keySum(req.Key))
		if entry != nil && entry.Outcome == nil {
			return Outcome{}, ErrRunning
		}
		known = entry != nil
	}
	if prepare != nil {
		start := time.Now()
		if err := prepare(ctx, known); err != nil {
			return Outcome{}, err
		}
		s.times.prepare.add(time.Since(start))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errTimeout)
	defer cancel()
	return s.begin(ctx, e, req, known)
}

var errTimeout = errors.New("effect: the request's time is up")

// lockKey keeps a second request with the same key off this node while the first
// is in hand; the queue does so cluster-wide, after the body is stored.
func (s *Service) lockKey(req *Request) (unlock func(), err error) {
	if req.Key == "" {
		return func() {}, nil
	}
	k := req.Scope + "\x00" + req.Key
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[k] {
		return nil, ErrRunning
	}
	s.keys[k] = true
	return func() {
		s.mu.Lock()
		delete(s.keys, k)
		s.mu.Unlock()
	}, nil
}

// begin commits the entry and, if it is new, has it run.
func (s *Service) begin(ctx context.Context, e Effect, req *Request, known bool) (Outcome, error) {
	if err := s.waitLease(ctx); err != nil {
		return Outcome{}, err
	}
	op, id := beginOp(e, req), req.ID
	if id.Member != s.ledger.Self() {
		return Outcome{}, fmt.Errorf("effect: this node left the view and came back meanwhile: %w", ErrNotNow)
	}
	if !s.take(id) {
		return Outcome{}, fmt.Errorf("effect: the node is stopping: %w", ErrNotNow)
	}
	start := time.Now()
	v, err := s.ledger.Propose(ctx, op, false)
	if err != nil {
		if !errors.Is(err, ring.ErrNotPrimary) {
			s.doubt(id)
		}
		s.leave(id)
		return Outcome{}, beginError(err)
	}
	if v.Kind != queue.New {
		s.leave(id)
	}
	s.times.begin.add(time.Since(start))
	switch v.Kind {
	case queue.New:
		if known && len(req.Input) == 0 {
			// The outcome that was to be compared with has just been let go.
			defer s.leave(id)
			return Outcome{}, s.abandon(ctx, id, fmt.Errorf("effect: the key's time is over: %w", ErrNotNow))
		}
		s.stats.begun.Add(1)
		return s.await(ctx, e, id, req.Input)
	case queue.Busy:
		return Outcome{}, ErrRunning
	case queue.Ended:
		s.stats.replayed.Add(1)
		return Outcome{ID: v.ID, Note: v.Outcome.Answer, Result: v.Outcome.Result, Replayed: true}, nil
	case queue.Mismatch:
		return Outcome{}, ErrMismatch
	case queue.Full:
		return Outcome{}, ErrFull
	case queue.NotMember:
		return Outcome{}, fmt.Errorf("effect: this node has left the view: %w", ErrNotNow)
	}
	return Outcome{}, fmt.Errorf("effect: the members answer %q to the beginning; run the same version of the program everywhere: %w", v.Kind, ErrNotNow)
}

// doubt has Run look whether the entry was begun after all. If it is another's by
// then, that one finds it among its claims.
func (s *Service) doubt(id queue.EntryID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsure) < maxUnsure {
		s.unsure[id] = true
	}
	select {
	case s.doubts <- struct{}{}:
	default:
	}
}

// maxUnsure bounds what is looked for; all the rest is claimed by others when
// this member leaves.
const maxUnsure = queue.MaxEffects

func beginError(err error) error {
	if errors.Is(err, ring.ErrNotPrimary) || tooLarge(err) {
		return fmt.Errorf("effect: begin: %w: %w", ErrNotNow, err)
	}
	return fmt.Errorf("effect: begin: %w: %w", ErrUnknown, err)
}

// tooLarge says that an op never left this node.
func tooLarge(err error) bool {
	return errors.Is(err, queue.ErrTooLarge) || errors.Is(err, ring.ErrOpTooLarge)
}

func beginOp(e Effect, req *Request) *queue.Op {
	op := &queue.Op{Kind: queue.OpBegin, N: req.ID.N}
	op.Request = queue.Request{
		Client: req.Client, Method: cut(req.Method, queue.MaxMethod), Host: cut(req.Host, queue.MaxHost),
		Path: cut(req.Path, queue.MaxPath), SinceMS: uint64(max(0, time.Now().UnixMilli())),
	}
	op.Effect = queue.EffectPart{Scope: req.Scope, Name: e.Name(), Input: req.Input, Fingerprint: req.Fingerprint}
	if req.Key != "" {
		op.Effect.HasKey, op.Effect.Key = true, keySum(req.Key)
	}
	return op
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// await has the entry run on a goroutine of the service, so that a client that
// goes does not stop it, and waits for the outcome.
func (s *Service) await(ctx context.Context, e Effect, id queue.EntryID, input []byte) (Outcome, error) {
	type end struct {
		o   Outcome
		err error
	}
	done := make(chan end, 1)
	s.wg.Go(func() {
		defer s.leave(id)
		o, err := s.carryOut(s.base, e, id, input, true)
		done <- end{o, err}
	})
	select {
	case d := <-done:
		return d.o, d.err
	case <-ctx.Done():
		return Outcome{}, fmt.Errorf("effect: entry %s: %w (%w)", id, ErrUnknown, context.Cause(ctx))
	}
}

// take notes that this process deals with the entry; false: it is stopping, or
// deals with it already.
func (s *Service) take(id queue.EntryID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.running[id] {
		return false
	}
	s.running[id] = true
	s.wg.Add(1)
	return true
}

func (s *Service) leave(id queue.EntryID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, id)
	s.wg.Done()
}

// waitLease waits for a late lease: a token that is a little late costs a pause,
// no refusal.
func (s *Service) waitLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LeaseWait)
	defer cancel()
	return s.until(ctx, s.ledger.MayAct)
}

// pollEvery is how often a condition is looked at: atomic loads.
const pollEvery = 5 * time.Millisecond

// until waits for ok() to be nil.
func (s *Service) until(ctx context.Context, ok func() error) error {
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("effect: %w: %w", ErrNotNow, err)
		case <-time.After(pollEvery):
		}
	}
}
