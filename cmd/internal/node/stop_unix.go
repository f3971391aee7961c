//go:build unix

package node

import (
	"os"
	"syscall"
)

// stopProcess freezes this process; only SIGCONT thaws it.
func stopProcess() error { return syscall.Kill(os.Getpid(), syscall.SIGSTOP) }
