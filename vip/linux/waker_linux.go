package linux

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// waker ends a poll from another goroutine.
type waker struct {
	mu sync.Mutex
	fd int // an eventfd; -1: closed
}

func newWaker() (*waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("vip linux: eventfd: %w", err)
	}
	return &waker{fd: fd}, nil
}

func (w *waker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd >= 0 {
		one := binary.NativeEndian.AppendUint64(nil, 1)
		_, _ = unix.Write(w.fd, one) // fails only if it is awake
	}
}

// reset and close belong to the goroutine that polls.
func (w *waker) reset() {
	var b [8]byte
	_, _ = unix.Read(w.fd, b[:]) // empty: it was another's event
}

func (w *waker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = unix.Close(w.fd)
	w.fd = -1
}
