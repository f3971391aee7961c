//go:build unix

package bulk

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const canShorten = true

// shorten has a socket send, and ask its peer to send, segments of shortSegment
// bytes at most.
func shorten(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, shortSegment)
	}); e != nil {
		return e
	}
	return err
}
