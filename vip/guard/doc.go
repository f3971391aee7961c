// Package guard shuts a node's listening sockets and takes its virtual addresses
// off their interfaces at the end of its lease, also when the node is dead, frozen
// or late.
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
//   - A held address (Hold) is on its interface only while the lease runs. The
//     guard alone adds it, announces it and takes it off: what a node that wakes
//     from a freeze still had in mind changes nothing. Each is preceded by a look
//     at the lease. For the case that the guard is frozen too the kernel forgets
//     the address Validity after the last renewal (three in a second).
//   - It never shuts a socket or takes an address off while the lease is renewed
//     in time.
//   - The guard exits when the node is gone, or has closed its Guard.
//
// Limit: a guard that is stopped or killed guards nothing. Its death is seen by
// the node (Done), which must shut its sockets and start another; if the node is
// frozen as well its sockets stay open, and its addresses stay until the kernel
// forgets them: it counts in whole seconds and rounds up, so after 0.7 to 1.3 s. Do not put both into a cgroup that gets
// frozen as one: a frozen machine answers nothing, but a frozen cgroup does.
//
// Only Linux. Elsewhere Start says ErrUnsupported.
//
// Messages (one SOCK_SEQPACKET datagram each, big-endian):
//
//	node to guard   listen kind u8 = 1 | id u32 | backlog u32, with the socket as SCM_RIGHTS
//	                shut   kind u8 = 2 | id u32
//	                open     kind u8 = 6 | id u32 (get ready for hold; needs CAP_NET_ADMIN and CAP_NET_RAW)
//	                hold     kind u8 = 7 | id u32 | interface u32 | bits u8 | length u8 (4 or 16) | address
//	                         | count u8 | (length u8 | frame), the frames that announce it
//	                drop     kind u8 = 8 | id u32 | hold's id u32
//	                announce kind u8 = 9 | hold's id u32
//	guard to node   hello  kind u8 = 3
//	                answer kind u8 = 4 | id u32 | errno u32 (0: done), to listen, open, hold and drop
//	                ended  kind u8 = 5 | id u32 (the lease ended: the socket is shut, the address is gone)
package guard

import (
	"errors"
	"net/netip"
	"time"
)

// Validity is for how long the kernel keeps an address that nobody renews. Its
// unit is the second; less there is not.
const Validity = time.Second

// Address is what Hold puts on an interface.
type Address struct {
	Interface int // its index
	Prefix    netip.Prefix
	// Frames announce the address: whole Ethernet frames, at most MaxFrames of
	// MaxFrame bytes. They are sent at once and again, see announcements.
	Frames [][]byte
}

// Bounds of an Address.
const (
	MaxFrames = 4
	MaxFrame  = 128
)

// ErrUnsupported says that this system has no guard.
var ErrUnsupported = errors.New("vip guard: a guard needs Linux (it shares sockets and shuts them for a frozen process); use driver \"none\" here")

// ErrLeaseOver says that the guard refused to listen: the lease does not run.
var ErrLeaseOver = errors.New("vip guard: the lease does not run; nothing may listen until it is renewed")

// ErrGone says that the guard process has ended.
var ErrGone = errors.New("vip guard: the guard process is gone; close what it guarded and start another")

// Argument is the hidden command by which a program runs Main.
const Argument = "guard"
