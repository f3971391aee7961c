package topology_test

import (
	"context"
	"fmt"

	"rain/ring/topology"
)

// What three faults can do to sixteen nodes with two links each: on neighbouring
// switches, and on switches as far apart as can be.
func ExampleNet_Worst() {
	for _, kind := range []topology.Kind{topology.Naive, topology.Diameter} {
		net, err := topology.New(kind, 16, 16, 2, 0, 0)
		if err != nil {
			fmt.Println(err)
			return
		}
		worst, err := net.Worst(context.Background(), topology.Direct, 3)
		fmt.Println(kind, "loses", worst.Loss, err)
	}
	// Output:
	// naive loses 10 <nil>
	// diameter loses 6 <nil>
}
