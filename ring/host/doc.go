// Package host is the shell of the ring core: it gives a ring.Machine its
// sockets, its clock, its disk and its riders, and the layers above a way to
// propose ops and to know their rights.
//
// One goroutine, the loop, calls Step and all methods of riders. Messages,
// verdicts, timers, disk answers and proposals reach it as events in one
// mailbox; disk writes and snapshot transfers happen beside it.
//
// Guarantees: LeaseUntil never promises more than the core does; an op whose
// Propose returned nil is committed (and durable, and applied everywhere, if so
// asked); after a crash the node continues from what was on disk.
//
// Limits: at most 4,096 proposals under way, more wait; a rider's Apply must not
// block. A snapshot is taken inside the loop, so riders should write theirs in
// memory time.
package host
