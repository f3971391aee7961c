// Package link says of one path between two nodes, from one local interface to
// one interface of a peer, whether it works, so that both ends tell the same
// story. It is a pure core: no clock, socket, goroutine or chance. Time is an
// argument, what must be sent comes back.
//
// A History is the consistent-history protocol: a filter between what an end
// believes of the channel (it timed out, it answers again) and what it reports
// (Up, Down). A Monitor feeds one from pings.
//
// Guarantees, between two Histories of one session with the same slack N >= 2:
//
//   - Bounded slack: the numbers of transitions that both ends have reported
//     differ by at most N at any moment. Equal numbers mean equal states.
//   - Correctness: if the channel stops carrying bytes in either direction,
//     both ends report Down, at the latest when what was sent has arrived or
//     timed out; if it carries bytes both ways again, both report Up.
//   - Stability: one change of the channel costs a bounded number of reports,
//     one at each end if nothing else changes meanwhile.
//
// An end reports Up only on proof that both directions work: the echo of a ping
// that it sent after it went Down. A flapping channel must prove itself longer
// each time, see Config.UpEchoes.
//
// A session is a pair of incarnations. When the peer comes back with a higher
// one, the history starts anew: Down, with no transition. Pings of older
// incarnations, or for older ones, change nothing.
//
// Pings may be lost, doubled, late and out of order. They must come
// authenticated: the parser takes any bytes without harm, but a liar who holds
// the key can make an end report what it likes, at most N transitions a ping.
//
// A ping is one datagram, big-endian, PingSize bytes:
//
//	version u8     1
//	flags   u8     bit 0: the sender reports Up; all others zero
//	inc     u64    incarnation of the sender
//	peer    u64    incarnation of the receiver as the sender knows it, 0 if not
//	h       u64    transitions that the sender has reported in this session
//	seen    u64    transitions of the receiver that the sender has followed
//	no      u64    number of this ping, rises with each; 1 is the first
//	echo    u64    highest number of a ping of the receiver that came in, 0 if none
//	held    u32    how long ago that was, microseconds (all ones: longer)
//
// API: the exported names and the ping change only together with the ping's version
// byte; the defaults of Config may change with any release.
//
// Source: LeMahieu and Bruck, "A consistent history link connectivity protocol"
// (ETR 023, 1998). The incarnations and the hysteresis are not in the paper.
package link
