package node

import (
	"context"
	"fmt"
	"time"

	"rain/ring"
	"rain/ring/host"
	"rain/snow/admin"
	"rain/snow/effect"
	"rain/snow/effect/guestbook"
	"rain/snow/queue"
)

// effects are what this node does for requests that change something.
type effects struct {
	service *effect.Service
	fresh   *freshness
}

// buildEffects makes the service of effects and mounts the guestbook. To give a
// site effects of its own: write an effect.Effect, add it to the list here, and
// mount a handler that calls the service's Do, as package guestbook does.
func (n *node) buildEffects(context.Context) (func(), error) {
	log := n.log.With("layer", "effects")
	known := []effect.Effect{guestbook.Post{}, admin.ObjectEffect{}}
	service, err := effect.New(effect.DefaultConfig(), ledger{n}, known, log)
	if err != nil {
		return nil, err
	}
	n.effects = &effects{service: service, fresh: newFreshness(n.shared())}
	n.store.HoldOrphans(n.oldestEffect)
	n.store.HoldNamed(n.effectInputs)
	if !n.file.Web.Guestbook {
		return nil, nil
	}
	book, err := guestbook.New(guestbook.DefaultConfig(), guestbook.Deps{
		Store: n.store, Do: service, NewKey: newVersionToken, Taker: n.known.name, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return nil, n.web.Mount(guestbook.Path, book.Handle)
}

func (e *effects) metrics(p page) {
	st := e.service.Stats()
	p.one("rain_effects_running", "gauge", "Requests with an effect under way on this node.", float64(st.Running))
	p.one("rain_effects_begun_total", "counter", "Requests with an effect that this node began.", float64(st.Begun))
	p.one("rain_effects_replayed_total", "counter", "Repeats that got a recorded answer from this node.", float64(st.Replayed))
	p.one("rain_effects_claimed_total", "counter", "Effects that another began and this node finished.", float64(st.Claimed))
	p.one("rain_effects_retried_total", "counter", "Tries to record an outcome that failed.", float64(st.Retried))
	p.head("rain_effect_part_seconds", "summary", "Times of the newest effects on this node: store, begin, run, record.")
	for _, part := range []struct {
		name string
		t    effect.Times
	}{{"store", st.Parts.Prepare}, {"begin", st.Parts.Begin}, {"run", st.Parts.Run}, {"record", st.Parts.Finish}} {
		p.value("rain_effect_part_seconds", fmt.Sprintf("{part=%q,quantile=\"0.5\"}", part.name), part.t.P50.Seconds())
		p.value("rain_effect_part_seconds", fmt.Sprintf("{part=%q,quantile=\"0.99\"}", part.name), part.t.P99.Seconds())
		p.value("rain_effect_part_seconds_count", fmt.Sprintf("{part=%q}", part.name), float64(part.t.N))
	}
}

// ledger is the queue on the token as the service of effects wants it.
type ledger struct{ n *node }

func (l ledger) Propose(ctx context.Context, op *queue.Op, all bool) (queue.Verdict, error) {
	b, err := op.Encode()
	if err != nil {
		return queue.Verdict{}, err
	}
	res, err := l.n.host.Propose(ctx, ring.RiderQueue, b, host.Opt{Durable: true, All: all})
	if err != nil {
		return queue.Verdict{}, err
	}
	v, err := queue.ParseVerdict(res)
	if err == nil && all {
		err = l.n.fence(ctx)
	}
	if err == nil && all && v.Outcome != nil {
		l.n.effects.fresh.raise(v.Outcome.Index)
	}
	return v, err
}

func (l ledger) Self() ring.Member   { return l.n.host.Self() }
func (l ledger) Table() *queue.Table { return l.n.requests.Table() }
func (l ledger) Now() ring.Instant   { return l.n.host.Now() }

func (l ledger) MayAct() error {
	switch {
	case !l.n.host.Member():
		return fmt.Errorf("node: joining: %w", ring.ErrNotPrimary)
	case !l.n.host.Primary():
		return fmt.Errorf("node: the lease is out: %w", ring.ErrNotPrimary)
	}
	return nil
}

// effectInputs yields what the effects are to do that have no outcome yet.
func (n *node) effectInputs(yield func(op []byte)) {
	n.requests.Table().Running(func(e *queue.Entry) bool {
		if e.Kind == queue.Effect {
			yield(e.Input)
		}
		return true
	})
}

// fence waits until no member that left the view can still have a lease, and so
// answer with what was before an op that the present members have all applied.
func (n *node) fence(ctx context.Context) error {
	for {
		left := n.requests.Table().FreeAt.Sub(n.host.Now())
		if left <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node: waiting for the leases of members that left: %w: %w", ring.ErrOutcomeUnknown, ctx.Err())
		case <-time.After(left):
		}
	}
}

// oldestEffect is when the oldest request without an outcome began; zero: there
// is none.
func (n *node) oldestEffect() (oldest time.Time) {
	n.requests.Table().Running(func(e *queue.Entry) bool {
		if t := time.UnixMilli(int64(e.SinceMS)); e.Kind == queue.Effect && (oldest.IsZero() || t.Before(oldest)) {
			oldest = t
		}
		return true
	})
	return oldest
}
