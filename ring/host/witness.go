package host

import (
	"context"
	"log/slog"
	"time"

	"rain/ring"
)

// witnessTimeout bounds a question to the witness.
const witnessTimeout = 2 * time.Second

// askWitness asks in the background; the machine asks again if no answer comes.
func (n *Node) askWitness(q ring.WitnessAsk) {
	if n.cfg.Witness == nil {
		return
	}
	life := n.life.Load()
	n.asking.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), witnessTimeout)
		defer cancel()
		named, err := n.cfg.Witness(ctx, q)
		if err != nil {
			n.log.Warn("the witness does not answer; without it half of a view does not count", slog.Any("err", err))
			return
		}
		n.mail.put(func() {
			if n.life.Load() == life {
				n.step(ring.WitnessSaid{WitnessAsk: q, Named: named})
			}
		})
	})
}
