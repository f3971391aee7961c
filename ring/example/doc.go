// Package example shows what can be built on package ring alone: a replicated
// counter, a lock, a leader and a map of keys and values. See the examples.
//
// Cluster is the smallest shell that drives ring.Machine: all nodes in one
// goroutine, virtual time, messages that always come, disks that are done at once.
// It shows which effect means what; ring/host is the shell with sockets and disks,
// ring/sim the one with faults. A node that crashes here does not come back.
//
// Stability: package ring's exported names, the Rider interface and the order of
// Effects change only with the wire version; this package may change at any time.
package example
