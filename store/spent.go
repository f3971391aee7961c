package store

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"time"

	"rain/store/catalog"
)

const (
	// spentGrace is how long a piece stays after an op took its object away.
	spentGrace = 2 * time.Second
	spentEvery = time.Second
	// spentAtOnce bounds a round's work.
	spentAtOnce = 1024
)

// spentLoop gives the space of deleted and replaced objects back soon. The long
// grace of orphans is for what this node cannot know: whether a body's op is
// still to come, and what nodes outside the view are reading. Where neither can
// be, waiting serves nobody: one put wrote the piece and its op came, nobody
// counted on the piece since, another op took its object away, all nodes of the
// cluster are in the view, and none of them has it open.
func (s *Store) spentLoop(ctx context.Context) {
	for rest(ctx, spentEvery) {
		if err := s.removeSpent(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelDebug, "what was deleted stays for now", slog.Any("error", err))
		}
	}
}

func (s *Store) removeSpent(ctx context.Context) error {
	before := s.now().Add(-spentGrace)
	list := s.bodies.spent(before)
	if len(list) == 0 || s.ring.Ready() != nil || !s.allPresent() {
		return nil
	}
	open, err := s.openAnywhere(ctx)
	if err != nil {
		return err
	}
	held := s.namedInOps(list)
	for name, sum := range list {
		if body, _ := partOf(name); ctx.Err() != nil || open[body] || held[sum] {
			continue
		}
		s.removeOrphan(ctx, name, before, true)
	}
	return nil
}

// allPresent reports whether every node that the cluster knows is in the view.
func (s *Store) allPresent() bool {
	members := s.ring.Members()
	for _, id := range slices.Concat(s.ring.Known(), s.storage()) {
		if !slices.Contains(members, id) {
			return false
		}
	}
	return true
}

// namedInOps tells which contents an op may yet name that is under way elsewhere
// than in the catalog: an effect whose node died is run again, and puts its
// object a second time.
func (s *Store) namedInOps(list map[catalog.Sum]catalog.Sum) map[catalog.Sum]bool {
	held := map[catalog.Sum]bool{}
	if s.opsUnderWay == nil {
		return held
	}
	s.opsUnderWay(func(op []byte) {
		for _, sum := range list {
			if bytes.Contains(op, sum[:]) {
				held[sum] = true
			}
		}
	})
	return held
}
