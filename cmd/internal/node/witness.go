package node

import (
	"context"
	"log/slog"
	"time"

	"rain/cmd/internal/witness"
	"rain/ring"
	"rain/ring/host"
)

// askWitness is the ring's way to the witness.
func (n *node) askWitness(ctx context.Context, q ring.WitnessAsk) (ring.NodeID, error) {
	return witness.Ask(ctx, n.client, q)
}

// lookEvery is how often the node looks whether the witness is there, so that an
// operator hears of its death before it is needed.
const lookEvery = 5 * time.Second

// watchWitness pings it.
func (n *node) watchWitness(ctx context.Context) error {
	if n.file.Cluster.Witness == "" {
		return nil
	}
	return every(ctx, lookEvery, func() {
		ctx, cancel := context.WithTimeout(ctx, lookEvery/2)
		defer cancel()
		_, err := n.askWitness(ctx, ring.WitnessAsk{})
		if err == nil {
			if n.witnessAway.Swap(nil) != nil {
				n.log.Info("the witness is there")
			}
			return
		}
		why := err.Error()
		if n.witnessAway.Swap(&why) == nil && ctx.Err() == nil {
			n.log.Warn("the witness is away: while it is, no exact half of the view can go on", slog.Any("err", err))
		}
	})
}

// quorum is the quorum test of a view as this node knows it: where the witness has
// named nobody yet, any half may be named, if it is there.
func (n *node) quorum(rs host.Status, i int, in func(ring.Member) bool) bool {
	v := rs.Views[i].View
	var tie ring.Member
	if i < len(rs.Ties) {
		tie = rs.Ties[i]
	}
	if tie.IsZero() && n.file.Cluster.Policy == "witness" && n.witnessAway.Load() == nil {
		for _, m := range v.Members {
			if in(m.Member) {
				return v.QuorumWith(in, m.Member)
			}
		}
	}
	return v.QuorumWith(in, tie)
}
