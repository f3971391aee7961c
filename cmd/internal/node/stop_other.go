//go:build !unix

package node

import "errors"

// stopProcess is not possible here.
func stopProcess() error { return errors.New("node: freezing a process needs a Unix system") }
