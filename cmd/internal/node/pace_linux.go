package node

import (
	"context"
	"os"
	"runtime"
	"sync"

	"rain/ring/host/pump"
)

// sparePs is by how many goroutines more than there are cores Go may run at
// once. The ring's thread comes back from waiting only into a place that is free;
// among so many one nearly always is, and the kernel, which knows priorities,
// decides who of them gets a core.
const sparePs = 22

// keepPace gives the ring a thread of its own in busy times. GOMAXPROCS and GOGC
// in the environment win over the numbers here.
func (n *node) keepPace(ctx context.Context) error {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + sparePs)
	}
	cfg := pump.DefaultConfig()
	if os.Getenv("GOGC") == "" {
		busy := make(chan bool)
		cfg.OnChange = func(is bool) {
			select {
			case busy <- is:
			case <-ctx.Done():
			}
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		wg.Go(func() { keepGarbage(ctx, busy) })
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
	p, err := pump.New(cfg, append(sockets, sources...), n.log.With("layer", "pump"))
	if err != nil {
		return err
	}
	return p.Run(ctx)
}
