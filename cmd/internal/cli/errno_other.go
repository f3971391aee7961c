//go:build !windows

package cli

import "syscall"

// What the system says for an address in use and for a full disk.
const (
	addrInUse = syscall.EADDRINUSE
	diskFull  = syscall.ENOSPC
)
