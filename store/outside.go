package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// outsideFresh is for how long the answer of a node outside the view is
// believed: while objects are refused, each opening would ask anew.
const outsideFresh = time.Second

// outside is what is known of nodes that are not in the view. They may be up:
// on a machine without a free core a member is left out and comes back within
// moments, and its disk serves as well meanwhile. Content is named by its hash
// and its units are checked, so it does not matter who gives it.
type outside struct {
	mu    sync.Mutex
	nodes map[ring.NodeID]outsider
}

type outsider struct {
	at    time.Time
	told  bool
	lacks map[catalog.Sum]bool
}

// has reports whether the node said, a moment ago, that it has the piece.
func (o *outside) has(id ring.NodeID, name catalog.Sum) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.nodes[id]
	return n.told && time.Since(n.at) < 2*outsideFresh && !n.lacks[name]
}

// stale lists those of ids that were not asked lately, and notes that they are
// asked now.
func (o *outside) stale(ids []ring.NodeID) (out []ring.NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if time.Since(o.nodes[id].at) >= outsideFresh {
			out = append(out, id)
		}
	}
	return out
}

func (o *outside) note(id ring.NodeID, n outsider) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.nodes == nil {
		o.nodes = map[ring.NodeID]outsider{}
	}
	o.nodes[id] = n
}

// askOutside asks those of the nodes that are not in the view what they lack,
// all at once.
func (s *Store) askOutside(ctx context.Context, nodes []ring.NodeID) {
	members := s.ring.Members()
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(id ring.NodeID) bool {
		return id == s.ring.Self() || slices.Contains(members, id)
	})
	var wg sync.WaitGroup
	for _, id := range s.outside.stale(nodes) {
		wg.Go(func() {
			l, n, err := s.askLacks(ctx, id)
			s.outside.note(id, outsider{at: time.Now(), told: err == nil && n == len(l), lacks: l})
		})
	}
	wg.Wait()
}
