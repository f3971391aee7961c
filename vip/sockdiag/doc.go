// Package sockdiag asks the kernel which TCP connections to an address of this
// machine there are, and how far they are (sock_diag(7), NETLINK_SOCK_DIAG).
// A hand-over waits for those that the old holder must bring to their end.
//
// Only Linux; no privilege is needed. The kernel filters by state and port, so
// that the thousands in TIME_WAIT cost no copy; it looks at each bucket of its
// table, about a millisecond on a machine with a million buckets.
//
// Limit: a look is no snapshot. What changes meanwhile may be missed; look twice.
package sockdiag

import "net/netip"

// State of a connection, by the kernel's tcp_states.h.
type State uint8

// States that are of interest here. A request socket, a handshake whose last
// packet is missing, counts as SynRecv.
const (
	Established State = 1
	SynRecv     State = 3
	FinWait1    State = 4
	CloseWait   State = 8
	LastAck     State = 9
	Closing     State = 11
)

// Socket is one connection.
type Socket struct {
	State State
	Peer  netip.AddrPort
	// RQueue is what came and was not read, WQueue what was written and not
	// acknowledged, a FIN included, in bytes.
	RQueue, WQueue uint32
	// Info is false for a handshake: then the rest says nothing.
	Info    bool
	Unacked uint32 // segments
	// SinceSent and SinceRecv are ms since data (not a FIN) went out and came in.
	SinceSent, SinceRecv uint32
}
