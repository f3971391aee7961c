package guard

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"rain/ring"
)

// Lease is the page on which a node and its guard read until when the lease
// runs. It lives in memory (memfd), not in the data folder: a store must never
// wait for a disk's write-back.
type Lease struct {
	file *os.File
	page []byte
}

// NewLease makes a page that says: no lease.
func NewLease() (*Lease, error) {
	fd, err := unix.MemfdCreate("rain-guard-lease", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("vip guard: make the lease page: %w", err)
	}
	f := os.NewFile(uintptr(fd), "guard.lease")
	if err := f.Truncate(int64(os.Getpagesize())); err != nil {
		f.Close()
		return nil, fmt.Errorf("vip guard: size the lease page: %w", err)
	}
	// A page that shrinks would kill its readers with SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, fmt.Errorf("vip guard: seal the lease page: %w", err)
	}
	page, err := mapLease(fd, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Lease{file: f, page: page}, nil
}

func mapLease(fd, prot int) ([]byte, error) {
	page, err := unix.Mmap(fd, 0, os.Getpagesize(), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("vip guard: map the lease page: %w", err)
	}
	return page, nil
}

func cell(page []byte) *atomic.Int64 { return (*atomic.Int64)(unsafe.Pointer(&page[0])) }

// Renew tells the guard until when the lease runs (CLOCK_BOOTTIME, ns). It is
// one atomic store. An earlier end than before may be seen only at the end told
// before. It must not be called after Close.
func (l *Lease) Renew(until ring.Instant) { cell(l.page).Store(int64(until)) }

// Until is what was last told.
func (l *Lease) Until() ring.Instant { return ring.Instant(cell(l.page).Load()) }

// Close gives the page back. Nobody may call Renew or Until any more.
func (l *Lease) Close() error {
	if err := unix.Munmap(l.page); err != nil {
		return fmt.Errorf("vip guard: unmap the lease page: %w", err)
	}
	return l.file.Close()
}

// now is the clock that leases are told in; it runs while the host sleeps.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("vip guard: CLOCK_BOOTTIME: %v", err)) // in every Linux since 2.6.39
	}
	return ts.Nano()
}
