// Command rainvideo is a node of a RAIN cluster that serves websites and films,
// and a demonstration of a whole cluster on one machine.
package main

import (
	"rain/cmd/internal/node"
	"rain/cmd/internal/program"
)

func main() {
	var grammar struct {
		program.Commands
		Play Play `cmd:"" help:"Play a film of a cluster, or write it to a file; goes on while nodes die."`
		Demo Demo `cmd:"" help:"Run a whole cluster on this machine, to pull its plugs."`
	}
	program.Start("rainvideo", "A node of a RAIN cluster: keeps websites up and films playing while boxes die.", &grammar, node.Run)
}
