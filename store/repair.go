package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"rain/store/catalog"
)

const (
	// shortGrace is the grace of orphans while space is short.
	shortGrace = time.Minute
	// repairRest lets a put that has a quorum reach the other members before
	// they fetch the body by themselves.
	repairRest    = 100 * time.Millisecond
	repairEvery   = 2 * time.Second
	repairWorkers = 4
	repairBatch   = 64
	repairScan    = 4096
	maxBackoff    = time.Minute
	scrubRest     = time.Hour
	// verifyRate bounds the checks of bodies that were opened; bytes a second.
	verifyRate = 256 << 20
)

// retry is when a body that could not be fetched is tried again.
type retry struct {
	at   time.Time
	wait time.Duration
}

// repairLoop fetches what the catalog names and the disk lacks.
func (s *Store) repairLoop(ctx context.Context) {
	pace := &pacer{rate: s.cfg.RepairBytesPerSecond}
	later := map[catalog.Sum]retry{}
	for {
		select {
		case <-s.repairNow:
			if !rest(ctx, repairRest) {
				return
			}
		case <-time.After(repairEvery):
		case <-ctx.Done():
			return
		}
		if s.retryAll.Swap(false) {
			clear(later)
		}
		for s.repairSome(ctx, pace, later) {
		}
	}
}

// rest waits; false: ctx is done.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// repairSome fetches a batch. It reports whether there may be more to do now.
func (s *Store) repairSome(ctx context.Context, pace *pacer, later map[catalog.Sum]retry) bool {
	now := time.Now()
	batch, n, _ := s.bodies.lacks(repairScan, func(p piece, _ bool) bool { return !now.Before(later[p.name].at) })
	if n == 0 {
		clear(later)
	}
	if len(batch) == 0 || ctx.Err() != nil {
		return false
	}
	// Who could lose least comes first.
	spare := make(map[catalog.Sum]int, len(batch))
	for _, p := range batch {
		spare[p.name] = s.holders(p.rec, p.part) - int(p.rec.K)
	}
	slices.SortStableFunc(batch, func(a, b piece) int { return cmp.Compare(spare[a.name], spare[b.name]) })
	batch = batch[:min(len(batch), repairBatch)]
	work := make(chan piece)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range min(repairWorkers, len(batch)) {
		wg.Go(func() {
			for l := range work {
				err := s.repair(ctx, l, pace)
				if ctx.Err() != nil {
					continue
				}
				mu.Lock()
				if err == nil {
					delete(later, l.name)
				} else {
					r := later[l.name]
					r.wait = min(max(2*r.wait, time.Second), maxBackoff)
					r.at = time.Now().Add(r.wait)
					later[l.name] = r
					s.log.LogAttrs(ctx, slog.LevelWarn, "missing body not fetched, trying again later",
						slog.String("piece", l.name.String()), slog.Duration("in", r.wait), slog.Any("error", err))
				}
				mu.Unlock()
			}
		})
	}
	for _, l := range batch {
		work <- l
	}
	close(work)
	wg.Wait()
	return ctx.Err() == nil
}

// repair brings a missing piece to this disk.
func (s *Store) repair(ctx context.Context, p piece, pace *pacer) error {
	if p.rec.Striped() {
		return s.rebuild(ctx, p, pace)
	}
	return s.fetch(ctx, p.name, p.size, pace)
}

// orphanLoop removes bodies that no object has referred to for a while.
func (s *Store) orphanLoop(ctx context.Context) {
	var g orphanGuard
	for {
		s.removeOrphans(ctx, &g)
		if !rest(ctx, min(s.cfg.OrphanGrace/4, time.Minute)) {
			return
		}
	}
}

// orphanGuard knows since when this node has been in the primary component
// without a break. Before it is, its catalog may be old or even empty, and
// bodies look like orphans that are the last copies.
type orphanGuard struct{ since time.Time }

// mayRemove reports whether the node has been in for as long as the grace.
func (g *orphanGuard) mayRemove(now time.Time, ready bool, grace time.Duration) bool {
	switch {
	case !ready:
		g.since = time.Time{}
	case g.since.IsZero():
		g.since = now
	}
	return ready && now.Sub(g.since) >= grace
}

func (s *Store) removeOrphans(ctx context.Context, g *orphanGuard) {
	grace := s.cfg.OrphanGrace
	if errors.Is(s.disk.room(0), ErrNoSpace) {
		grace = shortGrace
	}
	now := s.now()
	if !g.mayRemove(now, s.ring.Ready() == nil, grace) {
		return
	}
	if _, _, err := s.collect(ctx, now.Add(-grace)); err != nil && ctx.Err() == nil {
		s.log.LogAttrs(ctx, slog.LevelInfo, "orphans stay for now", slog.Any("error", err))
	}
}

// removeOrphan reports whether the piece was an orphan, or spent, since before
// then, and is gone.
func (s *Store) removeOrphan(ctx context.Context, sum catalog.Sum, before time.Time, spent bool) bool {
	// The lock keeps a put from giving the file its name between the two steps.
	mu := s.disk.shard(sum)
	mu.Lock()
	defer mu.Unlock()
	if !s.bodies.dropOrphan(sum, before, spent) {
		return false
	}
	if err := s.disk.fs.remove(s.disk.path(sum)); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "orphan not removed; the next start finds it again",
			slog.String("piece", sum.String()), slog.Any("error", err))
	}
	return true
}

// scrubLoop reads all bodies slowly and gives up those that went bad.
func (s *Store) scrubLoop(ctx context.Context) {
	if s.cfg.ScrubBytesPerSecond == 0 {
		return
	}
	pace := &pacer{rate: s.cfg.ScrubBytesPerSecond}
	for rest(ctx, time.Minute) {
		s.scrub(ctx, pace)
		if !rest(ctx, scrubRest) {
			return
		}
	}
}

// Scrub reads all bodies of this node at full speed and returns how many copies
// were bad; they are given up and fetched again by Run.
func (s *Store) Scrub(ctx context.Context) (bad int, err error) {
	bad = s.scrub(ctx, nil)
	return bad, context.Cause(ctx)
}

func (s *Store) scrub(ctx context.Context, pace *pacer) (bad int) {
	for _, sum := range s.bodies.all() {
		if ctx.Err() != nil {
			break
		}
		if s.verify(ctx, sum, pace) != nil && ctx.Err() == nil {
			bad++
		}
	}
	return bad
}

// verifyLoop checks large bodies soon after they were opened for the first time.
func (s *Store) verifyLoop(ctx context.Context) {
	pace := &pacer{rate: verifyRate}
	for {
		select {
		case sum := <-s.verifySoon:
			if _, _, verified := s.bodies.get(sum); !verified {
				_ = s.verify(ctx, sum, pace) // a bad copy is given up and logged by it
			}
		case <-ctx.Done():
			return
		}
	}
}

// verify reads a body on the disk; a bad copy is given up.
func (s *Store) verify(ctx context.Context, sum catalog.Sum, pace *pacer) error {
	sf, l, i, err := s.symbolHere(sum)
	if err != nil {
		return err
	}
	if sf != nil {
		defer sf.Close()
		return s.verifySymbol(ctx, sf, l, i, pace)
	}
	l, size, _ := s.bodies.get(sum)
	if l == nil {
		return nil
	}
	f, err := s.openLocal(sum, l, size)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, chunkSize)
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.loseCopy(sum, l, fmt.Errorf("store: read body %s: %w", sum, err))
		}
		if err := pace.wait(ctx, n); err != nil {
			return err
		}
	}
	if catalog.Sum(h.Sum(nil)) != sum {
		return s.loseCopy(sum, l, fmt.Errorf("store: body %s: %w", sum, errDamaged))
	}
	s.bodies.setVerified(l)
	return nil
}
