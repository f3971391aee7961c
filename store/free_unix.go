//go:build linux || darwin || freebsd

package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// freeBytes is the space that an ordinary user may still fill.
func freeBytes(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	if int64(st.Bavail) < 0 {
		return 0, nil // FreeBSD counts below zero when root uses its share
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

func noSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
