// Package ring is the membership token: a group of nodes that agree on who is
// in it and on one order of operations, by passing one token round a ring.
//
// It is a pure state machine: Machine.Step takes the time and one event and
// returns effects. It has no clock, socket, goroutine, log or global chance, so
// that the simulator (ring/sim) runs the very code that production runs
// (ring/host is its shell).
//
// Guarantees, for clocks within 5 % of true time, whatever is lost, delayed,
// duplicated, cut, paused or killed:
//
//   - In one epoch one token is made, and equal (epoch, seq) means equal content.
//   - The ops delivered at any two members of one generation are prefixes of one
//     sequence. A committed op survives while a quorum of its views lives; a
//     stable op (on a quorum's disks) also survives a cold start of everybody.
//   - Two members never act on the same exclusive thing at the same time, if they
//     act only while their lease runs and only on what an op gave them, after
//     FreeAt of all earlier view changes.
//   - Two disjoint components are never both primary.
//   - Once faults stop, one view holds every connected node within a bounded
//     number of time-outs, and every proposer gets an answer.
//
// Limits: 256 members in the wire format, 256 KiB of ops on a token at once,
// 64 KiB an op; nodes trust each other (a member with the cluster key that lies
// is not tolerated).
//
// Stability: the exported names, Rider, the events, and the order in which Effects
// are to be done change only together with WireVersion, and a program reads and
// writes the wire and disk of the version before. Trace and Inspection are for
// people: fields come, texts change. To use it: package ring/host with sockets and
// disks, or a shell of your own; ring/example is the smallest, with a counter, a lock,
// a leader and a map.
//
// Units: Instant is nanoseconds of a private clock. Indexes count ops of the
// one log from 1.
//
// Source: Bohossian, Fan, LeMahieu, Riedel, Xu, Bruck, "Computing in the RAIN",
// 2001; the epochs, quorum grants and leases are this project's (see the design
// page in the documentation). Where we differ on purpose: a holder whose send
// failed probes before it calls; a caller that is denied takes back the promise
// to itself; the base of a token may be lowered again for a joiner. Conservative
// detection passes over whom it doubts instead of sending the token there again,
// so that a dead member stops nobody; its second witness may be a granter.
package ring
