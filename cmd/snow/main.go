// Command snow is a node of a RAIN cluster that serves websites.
package main

import (
	"rain/cmd/internal/node"
	"rain/cmd/internal/program"
)

func main() {
	var grammar struct{ program.Commands }
	program.Start("snow", "A node of a RAIN cluster: keeps websites up while boxes die.", &grammar, node.Run)
}
