// Package node assembles a node from its layers: ring, store, vip, snow and the
// admin address. The parts are a list, started in order, rolled back when one
// fails, and stopped in reverse. What one layer needs of another is adapted
// here and nowhere else.
package node
