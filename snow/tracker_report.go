package snow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"rain/ring"
	"rain/snow/queue"
)

// Queue is what the server needs of the request queue on the token.
type Queue interface {
	Self() ring.Member
	Now() ring.Instant
	LeaseUntil() ring.Instant
	Table() *queue.Table
	// Propose returns the rider's result once the op is applied here. It may be
	// called with an op again after an error.
	Propose(ctx context.Context, op []byte) ([]byte, error)
}

const (
	// trackAfter is how long a request runs before it goes on the queue: longer
	// than a rotation.
	trackAfter = 50 * time.Millisecond
	// sweepEvery is how often the slots are looked at; begins and ends are told
	// then.
	sweepEvery = 25 * time.Millisecond
	// restEvery is how often while nothing runs here and nothing is claimed.
	restEvery = 5 * time.Second
	// offsetEvery is how often offsets are told.
	offsetEvery = time.Second
	// tickEvery is how often cluster time is counted, while effects wait for it.
	tickEvery = time.Minute
	// maxTold is how much one op tells, so that the token stays light.
	maxTold = 16 << 10
	// proposeWait bounds the wait for an op; then it is proposed again.
	proposeWait = 5 * time.Second
)

// told is what the token knows of a request.
type told uint8

const (
	toldNothing told = iota
	toldRequest      // and not yet of its response
	toldAll
	toldDropped // the queue was full
)

// live is a request that has been running for long.
type live struct {
	number     uint64 // in its slot
	n          uint64 // in the queue
	seen       uint64 // sweep
	responded  bool
	sent       int64
	sentTold   int64
	told, next told // next: what the op under way tells
}

// reporter keeps the queue's entries of this node equal to what its slots say.
// It compares and tells the difference; an op that gets lost, or is applied
// twice, is mended by the next comparison. It is a pure step machine but for the
// slots that it looks at.
type reporter struct {
	slots *slots
	me    ring.Member
	n     uint64 // counter of this process
	sweep uint64
	live  map[int]*live // by slot
	mine  map[uint64]bool
	over  []uint64 // to be told as ended
	// The last comparison with the table, and the last report of offsets.
	compared, offsets ring.Instant
	cursor            uint64 // offsets up to this n were told in this report
	// The tick that was seen first at tickSeen.
	tick     uint64
	tickSeen ring.Instant
}

func newReporter(s *slots) *reporter {
	return &reporter{slots: s, live: map[int]*live{}, mine: map[uint64]bool{}}
}

// look goes through the slots. since is the time since the slots' start.
func (r *reporter) look(since time.Duration) {
	r.sweep++
	for i := range int(r.slots.top.Load()) {
		g, running := r.slots.at(i).look()
		if !running || since-time.Duration(g.began) < trackAfter {
			continue
		}
		l := r.live[i]
		if l == nil || l.number != g.number {
			if l != nil {
				r.ended(l)
			}
			r.n++
			l = &live{number: g.number, n: r.n}
			r.live[i], r.mine[l.n] = l, true
		}
		l.seen, l.sent, l.responded = r.sweep, g.sent, g.responded
	}
	for i, l := range r.live {
		if l.seen != r.sweep {
			r.ended(l)
			delete(r.live, i)
		}
	}
}

func (r *reporter) ended(l *live) {
	delete(r.mine, l.n)
	if l.told == toldRequest || l.told == toldAll {
		r.over = append(r.over, l.n)
	}
}

// become forgets what was told under another identity: those entries are others'
// now, the requests go on here.
func (r *reporter) become(me ring.Member) {
	if me == r.me {
		return
	}
	r.me, r.over = me, nil
	for _, l := range r.live {
		l.told, l.sentTold = toldNothing, 0
	}
}

// compare finds entries of ours that no request stands behind, and requests whose
// entries are gone.
func (r *reporter) compare(now ring.Instant, t *queue.Table) {
	if now.Sub(r.compared) < offsetEvery {
		return
	}
	r.compared = now
	t.Of(r.me, func(e *queue.Entry) bool {
		if e.Owner == r.me && !r.mine[e.ID.N] {
			r.over = append(r.over, e.ID.N)
		}
		return true
	})
	for _, l := range r.live {
		if (l.told == toldRequest || l.told == toldAll) && t.Find(queue.EntryID{Member: r.me, N: l.n}) == nil {
			l.told, l.sentTold = toldNothing, 0
		}
	}
}

// batch is the next thing to tell, nil: nothing. What does not fit waits for the
// next sweep.
func (r *reporter) batch(now ring.Instant, wallMS uint64, since time.Duration) *queue.Op {
	op := &queue.Op{Kind: queue.OpBatch}
	offsets := now.Sub(r.offsets) >= offsetEvery
	var order []int // slots with something to tell, by n
	for i, l := range r.live {
		l.next = toldNothing
		if l.untold() || offsets && l.moved() && l.n > r.cursor {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(r.live[a].n, r.live[b].n) })
	slices.Sort(r.over)
	r.over = slices.Compact(r.over)
	op.Ends = slices.Clone(r.over[:min(len(r.over), maxTold/numberBytes)])
	size := numberBytes * len(op.Ends)
	last := uint64(0)
	for _, i := range order {
		l := r.live[i]
		if size >= maxTold {
			break
		}
		if l.untold() {
			size += r.tell(op, i, l, wallMS, since)
		}
		if offsets && l.moved() {
			op.Offsets = append(op.Offsets, queue.Progress{N: l.n, Offset: uint64(l.sent)})
			size += 2 * numberBytes
		}
		last = l.n
	}
	switch {
	case offsets && size >= maxTold:
		r.cursor = last
	case offsets:
		r.offsets, r.cursor = now, 0
	}
	if len(op.Begins)+len(op.Offsets)+len(op.Ends) == 0 {
		return nil
	}
	return op
}

// numberBytes is about what a number takes in an op.
const numberBytes = 4

func (l *live) untold() bool { return l.told == toldNothing || l.told == toldRequest && l.responded }

func (l *live) moved() bool {
	return (l.told == toldRequest || l.told == toldAll) && l.sent != l.sentTold
}

// tell adds the beginning of a request and returns about how many bytes it is.
func (r *reporter) tell(op *queue.Op, i int, l *live, wallMS uint64, since time.Duration) int {
	s := r.slots.at(i)
	q, responded, ok := s.read(l.number)
	if !ok {
		return 0 // over, or busy: the next sweep knows
	}
	q.SinceMS = wallMS - uint64(max(0, (since-time.Duration(s.began.Load())).Milliseconds()))
	l.next = toldRequest
	if responded {
		l.next = toldAll
	}
	op.Begins = append(op.Begins, queue.NewStream{N: l.n, Request: q})
	return 64 + len(q.Host) + len(q.Path) + len(q.Range) + len(q.Head)
}

// accepted notes that the op was applied and t came of it.
func (r *reporter) accepted(op *queue.Op, t *queue.Table) {
	for _, l := range r.live {
		if l.next != toldNothing {
			l.told, l.next = l.next, toldNothing
			if t.Find(queue.EntryID{Member: r.me, N: l.n}) == nil {
				l.told = toldDropped
			}
		}
	}
	byN := make(map[uint64]uint64, len(op.Offsets))
	for _, p := range op.Offsets {
		byN[p.N] = p.Offset
	}
	for _, l := range r.live {
		if o, ok := byN[l.n]; ok {
			l.sentTold = int64(o)
		}
	}
	r.over = slices.DeleteFunc(r.over, func(n uint64) bool { _, done := slices.BinarySearch(op.Ends, n); return done })
}

// idle reports whether there is nothing to do until a request begins or the table
// changes.
func (r *reporter) idle(t *queue.Table) bool {
	if len(r.live) > 0 || len(r.over) > 0 || len(t.Claims(r.me)) > 0 {
		return false
	}
	stray := false // compare will find it
	t.Of(r.me, func(e *queue.Entry) bool {
		stray = e.Owner == r.me
		return !stray
	})
	return !stray && r.slots.rest()
}

// settle ends what this node has claimed and does not go on with. Until FreeAt
// the old owner may still send.
func (r *reporter) settle(now ring.Instant, t *queue.Table) *queue.Op {
	if now < t.FreeAt {
		return nil
	}
	op := &queue.Op{Kind: queue.OpSettle}
	for _, e := range t.Claims(r.me) {
		if e.Kind == queue.Stream && len(op.IDs) < maxTold/32 {
			op.IDs = append(op.IDs, e.ID)
		}
	}
	if len(op.IDs) == 0 {
		return nil
	}
	return op
}

// ticks counts cluster time if it falls to this node and something waits for it.
func (r *reporter) ticks(now ring.Instant, t *queue.Table) *queue.Op {
	if r.tickSeen == 0 || t.Ticks != r.tick || t.Effects() == 0 {
		r.tick, r.tickSeen = t.Ticks, now
		return nil
	}
	passed := now.Sub(r.tickSeen)
	if passed < tickEvery || len(t.View.Members) == 0 || t.View.Members[0].Member != r.me {
		return nil
	}
	return &queue.Op{Kind: queue.OpTick, Seq: t.Ticks, ElapsedMS: uint32(min(passed.Milliseconds(), queue.MaxTick))}
}

// RunQueue puts requests that live longer than a rotation on the queue, and
// settles what this node claims of others', until ctx ends. Without Deps.Queue it
// returns at once.
func (s *Server) RunQueue(ctx context.Context) error {
	if s.deps.Queue == nil {
		return nil
	}
	r := newReporter(s.slots)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var roused, changed <-chan struct{} // nil but while nothing is to be told
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-roused:
			roused, changed = nil, nil
			timer.Reset(trackAfter) // before that nothing of the request is told
			continue
		case <-changed:
			roused, changed = nil, nil
			timer.Reset(sweepEvery)
			continue
		case <-timer.C:
			s.report(ctx, r)
		case done := <-s.flush:
			s.report(ctx, r)
			close(done)
		}
		pause := sweepEvery
		if t := s.deps.Queue.Table(); r.idle(t) {
			// A sweep on every timer would cost an idle node more than the token.
			pause, roused, changed = restEvery, s.slots.roused, t.Changed()
		}
		timer.Reset(pause)
	}
}

// FlushQueue tells at once what has begun and ended, before this node leaves. It
// needs RunQueue to run.
func (s *Server) FlushQueue(ctx context.Context) error {
	if s.flush == nil {
		return nil
	}
	done := make(chan struct{})
	select {
	case s.flush <- done:
	case <-ctx.Done():
		return fmt.Errorf("snow: telling the queue: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("snow: telling the queue: %w", ctx.Err())
	}
}

// report does one sweep and tells what there is to tell.
func (s *Server) report(ctx context.Context, r *reporter) {
	q := s.deps.Queue
	since := time.Since(s.slots.start)
	r.look(since)
	r.become(q.Self())
	t, now := q.Table(), q.Now()
	if now >= q.LeaseUntil() || !t.View.Has(r.me) {
		return
	}
	r.compare(now, t)
	if op := r.batch(now, uint64(time.Now().UnixMilli()), since); op != nil && s.proposeOp(ctx, op) {
		r.accepted(op, q.Table())
	}
	if op := r.settle(now, q.Table()); op != nil && q.Now() < q.LeaseUntil() && s.proposeOp(ctx, op) {
		s.log.Info("requests of nodes that died are settled as orphaned", slog.Int("requests", len(op.IDs)))
	}
	if op := r.ticks(now, q.Table()); op != nil {
		s.proposeOp(ctx, op)
	}
}

// proposeOp reports whether the op was applied. If not, the next sweep tells the
// same again.
func (s *Server) proposeOp(ctx context.Context, op *queue.Op) bool {
	b, err := op.Encode()
	if err != nil {
		panic(fmt.Sprintf("snow: the queue's op: %v", err)) // the reporter made it beyond the bounds
	}
	ctx, cancel := context.WithTimeout(ctx, proposeWait)
	defer cancel()
	res, err := s.deps.Queue.Propose(ctx, b)
	if err == nil {
		var v queue.Verdict
		if v, err = queue.ParseVerdict(res); err == nil && v.Kind != queue.OK {
			err = errors.New("queue: " + v.Kind.String())
		}
	}
	if err != nil {
		s.log.Debug("an op of the request queue is told again later", slog.Any("err", err))
		return false
	}
	return true
}
