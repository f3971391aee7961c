//go:build !linux

package store

import (
	"errors"
	"os"
)

// setDirect is for Linux; elsewhere writes go through the page cache.
func setDirect(_ *os.File, on bool) error {
	if on {
		return errors.ErrUnsupported
	}
	return nil
}
