// Package arrows holds the tests that keep the house in order: imports go down
// only, and the cores stay free of the world. It has no code of its own.
package arrows
