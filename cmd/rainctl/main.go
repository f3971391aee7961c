// Command rainctl is the operator's hand: it asks a cluster's admin addresses,
// stores and fetches objects, publishes sites, drains nodes, moves addresses,
// makes faults where they are allowed, and watches a site from outside.
//
// Results go to stdout, all else to stderr. The exit codes are those of package
// cli; "status --check" alone adds 10 (degraded) and 11 (critical).
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], &world{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
	})
	stop()
	os.Exit(code)
}

// world is what the verbs need of the process.
type world struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}
