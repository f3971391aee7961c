//go:build !linux

package host

// raisePriority needs threads with a priority of their own, which only Linux
// offers in this form.
func raisePriority() {}
