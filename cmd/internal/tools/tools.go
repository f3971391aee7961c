//go:build tools

// Package tools pins the tools that `make check` and `make bench` use, in a module
// of their own.
package tools

import (
	_ "golang.org/x/perf/cmd/benchstat"
	_ "honnef.co/go/tools/cmd/staticcheck"
)
