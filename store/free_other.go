//go:build !(linux || darwin || freebsd || windows)

package store

import (
	"errors"
	"fmt"
	"runtime"
)

func freeBytes(path string) (uint64, error) {
	return 0, fmt.Errorf("store: free space of %s on %s: %w", path, runtime.GOOS, errors.ErrUnsupported)
}

func noSpace(error) bool { return false }
