//go:build !linux

package node

import "context"

// keepPace is for Linux.
func (n *node) keepPace(context.Context) error { return nil }
