package program

import (
	"context"
	"log/slog"
	"os"

	"rain/conf"
	"rain/vip/guard"
)

// Start is the whole main of a node program: it ends the process. A node's guard
// is the same program again, as its own child.
func Start(name, description string, grammar any, run func(context.Context, *conf.File, *slog.Logger, <-chan struct{}) error) {
	if len(os.Args) > 1 && os.Args[1] == guard.Argument {
		os.Exit(guard.Main(os.Args[2:])) // not for people
	}
	env := &Env{
		Name: name, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Exit: os.Exit, RunNode: run,
	}
	os.Exit(Main(env, description, grammar, os.Args[1:]))
}
