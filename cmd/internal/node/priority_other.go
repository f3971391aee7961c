//go:build !linux

package node

import "log/slog"

// raisePriority is for Linux: elsewhere a service manager sets priorities.
func raisePriority(*slog.Logger) {}
