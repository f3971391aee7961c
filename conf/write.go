package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Replace writes a file of mode 0600 such that a crash leaves the old content or
// the new one, whole.
func Replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // its mode is 0600
	if err != nil {
		return fmt.Errorf("conf: write %s: %w", path, err)
	}
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("conf: write %s: %w", path, err)
	}
	if runtime.GOOS == "windows" {
		return nil // it has no such call, NTFS journals its names
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("conf: write %s: %w", path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("conf: write %s: %w", path, err)
	}
	return nil
}
