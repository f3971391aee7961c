package cli

import "syscall"

// What the system says for an address in use and for a full disk. The numbers
// that package syscall has for these on Windows are its own inventions.
const (
	addrInUse = syscall.Errno(10048) // WSAEADDRINUSE
	diskFull  = syscall.Errno(112)   // ERROR_DISK_FULL
)
