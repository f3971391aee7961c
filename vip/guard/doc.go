// Package guard shuts a node's listening sockets at the end of its lease, also
// when the node is dead, frozen or late.
//
// A frozen process keeps its sockets: the kernel goes on answering SYNs for it.
// So each node that holds virtual IPs has a guard, a small process in a session
// of its own (a stop or a signal meant for the node does not reach it). It
// shares the sockets and a page of memory in which the node writes until when
// its lease runs (one atomic store, no system call). The guard sleeps until then.
//
// Guarantees:
//   - A guarded socket listens only while the lease runs: the guard itself calls
//     listen, and calls shutdown on it at the lease's end (measured by
//     CLOCK_BOOTTIME, as the lease is) or at once when the node dies. shutdown
//     takes the socket out of LISTEN for every process that shares it and resets
//     what is queued on it. Late by no more than the scheduler makes it.
//   - It never shuts a socket while the lease is renewed in time.
//   - The guard exits when the node is gone, or has closed its Guard.
//
// Limit: a guard that is stopped or killed guards nothing. Its death is seen by
// the node (Done), which must shut its sockets and start another; if the node is
// frozen as well its sockets stay open. Do not put both into a cgroup that gets
// frozen as one: a frozen machine answers nothing, but a frozen cgroup does.
//
// Only Linux. Elsewhere Start says ErrUnsupported.
//
// Messages (one SOCK_SEQPACKET datagram each, big-endian):
//
//	node to guard   listen kind u8 = 1 | id u32 | backlog u32, with the socket as SCM_RIGHTS
//	                shut   kind u8 = 2 | id u32
//	guard to node   hello  kind u8 = 3
//	                answer kind u8 = 4 | id u32 | errno u32 (0: it listens)
//	                ended  kind u8 = 5 | id u32 (the lease ended, the socket is shut)
package guard

import "errors"

// ErrUnsupported says that this system has no guard.
var ErrUnsupported = errors.New("vip guard: a guard needs Linux (it shares sockets and shuts them for a frozen process); use driver \"none\" here")

// ErrLeaseOver says that the guard refused to listen: the lease does not run.
var ErrLeaseOver = errors.New("vip guard: the lease does not run; nothing may listen until it is renewed")

// ErrGone says that the guard process has ended.
var ErrGone = errors.New("vip guard: the guard process is gone; close what it guarded and start another")

// Argument is the hidden command by which a program runs Main.
const Argument = "guard"
