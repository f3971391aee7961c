//go:build !linux

package snow

import "os"

// sendFile copies: the sendfile calls of other systems differ too much.
func (c *conn) sendFile(f *os.File, offset, n int64) (int64, error) {
	return c.copyFile(f, offset, n)
}
