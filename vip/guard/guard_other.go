//go:build !linux

package guard

import (
	"fmt"
	"os"
)

// Main refuses: see ErrUnsupported.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, ErrUnsupported)
	return 1
}
