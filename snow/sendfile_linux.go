package snow

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// sendfileChunk keeps one call from holding a thread for long.
const sendfileChunk = 1 << 20

// sendFile uses sendfile(2) with an offset of its own: many responses share one
// open file. (io.Copy would move the file's offset.)
func (c *conn) sendFile(f *os.File, offset, n int64) (int64, error) {
	out, err := c.tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(f)
	in := int(f.Fd())
	var total int64
	for total < n {
		if err := c.arm(); err != nil {
			return total, err
		}
		var wrote int
		var failed error
		err := out.Write(func(fd uintptr) bool {
			for {
				wrote, failed = unix.Sendfile(int(fd), in, &offset, int(min(n-total, sendfileChunk)))
				if !errors.Is(failed, unix.EINTR) {
					break
				}
			}
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil {
			return total, err
		}
		if failed != nil {
			return total, fmt.Errorf("snow: sending a file: %w", os.NewSyscallError("sendfile", failed))
		}
		if wrote <= 0 {
			return total, nil
		}
		total += int64(wrote)
		c.tracked.sent(int64(wrote))
	}
	return total, nil
}
