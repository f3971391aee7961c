package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// viewPoll is how often a put that waits for members looks at the view: it is
// an atomic load.
const viewPoll = 10 * time.Millisecond

// fanout brings one body to the other members and counts who has it. close
// must be called; it ends and awaits all that was started.
type fanout struct {
	s       *Store
	ctx     context.Context
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup
	results chan ack
	pending map[ring.NodeID]bool
	acked   map[ring.NodeID]bool
	failed  map[ring.NodeID]error
	among   []ring.NodeID // who should have it; nil: all members
	least   int           // how many must have it at the least
}

type ack struct {
	peer ring.NodeID
	err  error
}

var errLeftOut = errors.New("store: the put goes on without this member; its copy is repaired later")

func (s *Store) newFanout(ctx context.Context) *fanout {
	f := &fanout{s: s, pending: map[ring.NodeID]bool{}, acked: map[ring.NodeID]bool{}, failed: map[ring.NodeID]error{}}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	return f
}

// start runs send for each other member and local for this node.
func (f *fanout) start(members []ring.NodeID, send func(context.Context, ring.NodeID) error) {
	f.results = make(chan ack, len(members)+1)
	for _, m := range members {
		if m != f.s.ring.Self() {
			f.run(m, func() error { return send(f.ctx, m) })
		}
	}
}

// run counts fn as the way of the body to the member.
func (f *fanout) run(m ring.NodeID, fn func() error) {
	f.pending[m] = true
	f.wg.Go(func() { f.results <- ack{m, fn()} })
}

func (f *fanout) close() {
	f.cancel(errLeftOut)
	f.wg.Wait()
}

// members are those of the newest view that should have the body.
func (f *fanout) members() []ring.NodeID {
	all := f.s.ring.Members()
	if f.among == nil {
		return all
	}
	out := make([]ring.NodeID, 0, len(f.among))
	for _, m := range all {
		if slices.Contains(f.among, m) {
			out = append(out, m)
		}
	}
	return out
}

// enough reports whether the put may be confirmed: this node, if it is to have
// the body, and more than half of those that should have it do have it.
func (f *fanout) enough(members []ring.NodeID) bool {
	self := f.s.ring.Self()
	have := f.count(members)
	return 2*have > len(members) && have >= f.least && (f.acked[self] || f.among != nil && !slices.Contains(f.among, self))
}

// wait returns when enough members have the body, and the others have answered
// or were waited for long enough. Members that leave the view are waited for no
// longer.
func (f *fanout) wait(ctx context.Context) error {
	tick := time.NewTicker(viewPoll)
	defer tick.Stop()
	self := f.s.ring.Self()
	var since time.Time // when a quorum was first seen, or the last answer came
	for {
		if err := f.failed[self]; err != nil {
			return err
		}
		members := f.members()
		waiting := slices.ContainsFunc(members, func(m ring.NodeID) bool { return f.pending[m] })
		enough := f.enough(members)
		if enough && !waiting {
			return nil
		}
		if enough || !waiting {
			if since.IsZero() {
				since = time.Now()
			}
			late := time.Since(since) > f.s.cfg.PeerStall
			switch {
			case enough && late:
				return nil
			case !enough && (late || f.anyNoSpace()):
				// Until it is late, a member that died may leave the view.
				return f.tooFew(members)
			}
		}
		select {
		case a := <-f.results:
			delete(f.pending, a.peer)
			if a.err != nil {
				f.failed[a.peer] = a.err
			} else {
				f.acked[a.peer] = true
			}
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("store: body not yet on enough members: %w: %w", ErrUnavailable, context.Cause(ctx))
		}
	}
}

func (f *fanout) count(members []ring.NodeID) int {
	n := 0
	for _, m := range members {
		if f.acked[m] {
			n++
		}
	}
	return n
}

func (f *fanout) anyNoSpace() bool {
	for _, err := range f.failed {
		if errors.Is(err, statusError(statusNoSpace)) {
			return true
		}
	}
	return false
}

func (f *fanout) tooFew(members []ring.NodeID) error {
	kind := ErrUnavailable
	if f.anyNoSpace() {
		kind = ErrNoSpace
	}
	why := ""
	for _, m := range members {
		if err := f.failed[m]; err != nil {
			why += fmt.Sprintf("; %s: %v", m, err)
		}
	}
	return fmt.Errorf("store: %d of %d members took the body, %d are needed%s: %w",
		f.count(members), len(members), max(len(members)/2+1, f.least), why, kind)
}

// sendSmall brings a small body to a member in one round trip.
func (s *Store) sendSmall(ctx context.Context, peer ring.NodeID, sum catalog.Sum, body []byte) error {
	return s.call(ctx, peer, servicePut, func(conn net.Conn) error {
		c, release := guardConn(ctx, conn, patience*s.cfg.PeerStall)
		defer release()
		msg := make([]byte, 0, requestLen+len(body))
		msg = request{kindSmall, sum, uint64(len(body))}.append(msg)
		if _, err := c.Write(append(msg, body...)); err != nil {
			return err
		}
		st, err := c.readStatus(syncTime(s.cfg.PeerStall, 0))
		return settled(st, err)
	})
}

// settled turns a member's last word on a put into an error.
func settled(st status, err error) error {
	if err == nil && st != statusStored && st != statusHave {
		return statusError(st)
	}
	return err
}
