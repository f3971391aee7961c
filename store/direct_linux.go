package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// setDirect makes the writes that follow go past the page cache, or through it
// again. A file system that cannot do that says so here or at the first write.
func setDirect(f *os.File, on bool) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		var flags int
		if flags, failed = unix.FcntlInt(fd, unix.F_GETFL, 0); failed != nil {
			return
		}
		want := flags &^ unix.O_DIRECT
		if on {
			want = flags | unix.O_DIRECT
		}
		if want != flags {
			_, failed = unix.FcntlInt(fd, unix.F_SETFL, want)
		}
	})
	if err != nil {
		return err
	}
	return failed
}
