// Package netlab builds small networks out of Linux network namespaces and runs
// clusters of real node programs in them, for tests. A lab is a switch (a bridge),
// a client and nodes, each in a namespace of its own; with two networks the ring
// has one of its own.
//
// New skips the test, by name, where there is no root, no 'ip' program or no
// namespaces. All that a lab starts and makes ends with its test.
//
// Only Linux.
package netlab
