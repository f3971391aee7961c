// Package host is the shell of the ring core: it gives a ring.Machine its
// sockets, its clock, its disk and its riders, and the layers above a way to
// propose ops and to know their rights.
//
// One goroutine at a time, the one that has the turn, calls Step and all methods
// of riders. Messages, verdicts, timers, disk answers and proposals come as
// events through one mailbox; disk writes and snapshot transfers happen beside
// it. The turn is the loop's, which Run runs, or that of the transport's or the
// timer's goroutine for what it has just brought.
//
// Guarantees: LeaseUntil never promises more than the core does; an op whose
// Propose returned nil is committed (and durable, and applied everywhere, if so
// asked); after a crash the node continues from what was on disk.
//
// Limits: at most 4,096 proposals under way, more wait; a rider's Apply must not
// block. A snapshot is taken within the loop's turn, so riders should write theirs in
// memory time.
package host
