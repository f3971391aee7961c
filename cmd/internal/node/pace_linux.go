package node

import (
	"context"
	"os"
	"runtime"

	"rain/ring/host/pump"
)

// sparePs is by how many goroutines more than there are cores Go may run at
// once. The ring's thread comes back from waiting only into a place that is free;
// among so many one nearly always is, and the kernel, which knows priorities,
// decides who of them gets a core.
const sparePs = 14

// keepPace gives the ring a thread of its own in busy times.
func (n *node) keepPace(ctx context.Context) error {
	if os.Getenv("GOMAXPROCS") == "" { // the operator knows better
		runtime.GOMAXPROCS(runtime.NumCPU() + sparePs)
	}
	sources, done, err := n.host.Sources()
	if err != nil {
		return err
	}
	defer done()
	sockets, err := n.tr.Sources()
	if err != nil {
		return err
	}
	p, err := pump.New(pump.DefaultConfig(), append(sockets, sources...), n.log.With("layer", "pump"))
	if err != nil {
		return err
	}
	return p.Run(ctx)
}
