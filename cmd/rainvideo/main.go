// Command rainvideo is a node of a RAIN cluster that serves websites and films,
// and a demonstration of a whole cluster on one machine.
package main

import (
	"os"

	"rain/cmd/internal/node"
	"rain/cmd/internal/program"
	"rain/vip/guard"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == guard.Argument {
		os.Exit(guard.Main(os.Args[2:])) // a node's own child; not for people
	}
	env := &program.Env{
		Name: "rainvideo", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Exit: os.Exit, RunNode: node.Run,
	}
	var grammar struct {
		program.Commands
		Play Play `cmd:"" help:"Play a film of a cluster, or write it to a file; goes on while nodes die."`
		Demo Demo `cmd:"" help:"Run a whole cluster on this machine, to pull its plugs."`
	}
	os.Exit(program.Main(env, "A node of a RAIN cluster: keeps websites up and films playing while boxes die.", &grammar, os.Args[1:]))
}
