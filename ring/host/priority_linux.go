package host

import "golang.org/x/sys/unix"

// raisePriority gives the calling thread (the loop's) a better place in the
// scheduler. Without the right to do so nothing changes: that is the normal
// case without root, so no error is worth a word.
func raisePriority() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -11)
}
