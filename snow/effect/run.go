package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"rain/snow/queue"
)

// Run finishes the entries that became this node's own: those of members that
// died, and those whose beginning this node did not hear the end of. It returns
// when ctx ends and nothing of the service runs any more.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var changed <-chan struct{} // nil but while there is nothing to finish
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.stopped = true
			s.mu.Unlock()
			s.stop()
			s.wg.Wait()
			return nil
		case <-changed:
		case <-s.doubts:
		case <-timer.C:
			t := s.ledger.Table()
			changed = t.Changed()
			if s.claim(t) {
				changed = nil
				timer.Reset(s.cfg.ClaimEvery)
			} else {
				timer.Reset(restFactor * s.cfg.ClaimEvery)
			}
			continue
		}
		changed = nil
		timer.Reset(s.cfg.ClaimEvery)
	}
}

// restFactor is how many times as long Run waits while there is nothing to
// finish, and the table does not change: a timer that goes off more often than
// the token comes would be most of what an idle node costs.
const restFactor = 100

// claim starts what this node owns and nobody here deals with. It reports whether
// anything is left to do.
func (s *Service) claim(t *queue.Table) (left bool) {
	self := s.ledger.Self()
	for _, entry := range t.Claims(self) {
		if entry.Kind == queue.Effect {
			s.resume(entry)
			left = true
		}
	}
	for _, id := range s.doubtful() {
		left = true
		entry := t.Find(id)
		switch {
		case entry != nil && entry.Owner == self && entry.Outcome == nil:
			s.resume(entry)
		case entry != nil || id.Member != self:
			s.forget(id) // ended, another's, or of an earlier life of ours: a claim by now
		}
	}
	return left
}

func (s *Service) doubtful() []queue.EntryID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.unsure))
}

func (s *Service) forget(id queue.EntryID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.unsure, id)
}

// resume finishes an entry that another process, or an earlier try of this one,
// began.
func (s *Service) resume(entry *queue.Entry) {
	e := s.effects[entry.Name]
	if e == nil || !s.take(entry.ID) {
		return // of another version of the program, or in hand
	}
	s.wg.Go(func() {
		defer s.leave(entry.ID)
		o, err := s.carryOut(s.base, e, entry.ID, entry.Input, false)
		if err != nil {
			s.log.Warn("an effect that another began is not finished by this node", slog.String("entry", entry.ID.String()),
				slog.String("effect", entry.Name), slog.Any("err", err))
			return
		}
		s.stats.claimed.Add(1)
		s.log.Info("finished an effect that another began", slog.String("entry", o.ID.String()), slog.String("effect", entry.Name))
	})
}

// carryOut runs an entry and records its outcome. mine says that this process
// began it and knows that it has not run.
func (s *Service) carryOut(ctx context.Context, e Effect, id queue.EntryID, input []byte, mine bool) (Outcome, error) {
	if err := s.until(ctx, s.mayRun(mine)); err != nil {
		return Outcome{}, err
	}
	start := time.Now()
	a, err := s.act(ctx, e, id, input, mine)
	if err != nil {
		return Outcome{}, s.abandon(ctx, id, fmt.Errorf("effect: run %s of %s: %w", e.Name(), id, err))
	}
	s.times.run.add(time.Since(start))
	start = time.Now()
	o, err := s.record(ctx, id, a, mine)
	if err == nil {
		s.times.finish.add(time.Since(start))
	}
	return o, err
}

// mayRun is the rule of acting for an entry of one's own, or a claimed one.
func (s *Service) mayRun(mine bool) func() error {
	return func() error {
		if err := s.ledger.MayAct(); err != nil || mine {
			return err
		}
		if t := s.ledger.Table(); s.ledger.Now() < t.FreeAt {
			return errNotFree
		}
		return nil
	}
}

var errNotFree = errors.New("what belonged to members that left is not free yet")

// abandon takes an entry off the queue that did nothing and never will: its key
// is free again. It returns why.
func (s *Service) abandon(ctx context.Context, id queue.EntryID, why error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Attempt)
	defer cancel()
	if _, err := s.ledger.Propose(ctx, &queue.Op{Kind: queue.OpAbandon, ID: id}, false); err != nil {
		return fmt.Errorf("%w; taking it off the queue: %w", why, err)
	}
	return why
}

func (s *Service) act(ctx context.Context, e Effect, id queue.EntryID, input []byte, mine bool) (Action, error) {
	c, ok := e.(Caller)
	switch {
	case !ok:
		return e.Run(input)
	case !mine:
		return Action{Note: c.Unknown()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	note, err := c.Call(ctx, id, input)
	if err == nil && len(note) > queue.MaxAnswer {
		err = fmt.Errorf("effect: a note of %d bytes; at most %d are kept", len(note), queue.MaxAnswer)
	}
	switch {
	case errors.Is(err, ErrNotCalled):
		return Action{}, fmt.Errorf("%w: %w", ErrNotNow, err)
	case err != nil:
		s.log.Warn("an application's answer is not known", slog.String("entry", id.String()), slog.String("effect", e.Name()), slog.Any("err", err))
		return Action{Note: c.Unknown()}, nil
	}
	return Action{Note: note}, nil
}

// record brings the outcome to the token until one stands. Trying again is
// harmless: the first outcome stands.
func (s *Service) record(ctx context.Context, id queue.EntryID, a Action, mine bool) (Outcome, error) {
	op := &queue.Op{Kind: queue.OpFinish, ID: id, AtMS: uint64(max(0, time.Now().UnixMilli())), Answer: a.Note, Rider: a.Rider, Inner: a.Op}
	lost := 0
	for {
		if err := s.until(ctx, s.mayRun(mine)); err != nil {
			return Outcome{}, fmt.Errorf("effect: record the outcome of %s: %w: %w", id, ErrUnknown, err)
		}
		try, cancel := context.WithTimeout(ctx, s.cfg.Attempt)
		v, err := s.ledger.Propose(try, op, true)
		cancel()
		switch {
		case tooLarge(err):
			return Outcome{}, s.abandon(ctx, id, fmt.Errorf("effect: record the outcome of %s: %w", id, err))
		case err != nil:
			s.stats.retried.Add(1)
		case v.Kind == queue.Recorded || v.Kind == queue.Ended:
			return Outcome{ID: id, Note: v.Outcome.Answer, Result: v.Outcome.Result}, nil
		case v.Kind == queue.NotOwner || v.Kind == queue.NotMember:
			// Another one finishes it. A client that still waits here may get that
			// outcome, soon.
			if lost++; lost > lostPatience {
				return Outcome{}, fmt.Errorf("effect: entry %s went to %s: %w", id, v.Owner, ErrUnknown)
			}
		default:
			return Outcome{}, fmt.Errorf("effect: entry %s: the members answer %q: %w", id, v.Kind, ErrUnknown)
		}
		select {
		case <-ctx.Done():
			return Outcome{}, fmt.Errorf("effect: entry %s: %w: %w", id, ErrUnknown, ctx.Err())
		case <-time.After(lostPause):
		}
	}
}

const (
	lostPause    = 20 * time.Millisecond
	lostPatience = 100
)
