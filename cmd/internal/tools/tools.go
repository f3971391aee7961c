//go:build tools

// Package tools pins the tools that `make check` uses, in a module of their own.
package tools

import _ "honnef.co/go/tools/cmd/staticcheck"
