// Package rudp carries messages to one incarnation of one peer over one to
// MaxLinks unreliable datagram links, and says of each message whether the peer
// has it. It is a pure core: no clock, socket, goroutine or chance. Time is an
// argument, what must be sent comes back as Effects.
//
// Guarantees, between two Conns that were made for each other (a new pair for
// each pair of incarnations):
//
//   - a message is delivered at most once, whole, and in the order of Send;
//   - each Send with ref != 0 gets exactly one Verdict;
//   - OK means that the peer's Conn has every byte of the message, and delivers
//     it as soon as what was sent before is delivered or given up;
//   - not OK means that no acknowledgement came for Config.SendTimeout, though
//     every link was tried. The message may have arrived all the same. It is
//     given up: the messages after it do not wait for it.
//
// The clock of a message starts when it is first sent, starts again with each
// acknowledgement for a part of it (a slow peer is no dead one), and ends after
// 4 SendTimeout, and one more for each 8 fragments, whatever comes. A message
// that waits for room in the window fails when nothing at all was acknowledged
// for SendTimeout. Time by which Tick comes late does not count: a caller that
// slept could not hear.
//
// Limits: a message has at most ring.MaxMessage bytes; at most Window fragments
// are on their way, and at most Window fragments wait at the receiver; at most
// Config.MaxQueue bytes wait at the sender, what is more fails at once.
// The packets must come authenticated: the parser takes any bytes without harm,
// but a liar who holds the key can make a Conn deliver lies.
//
// A packet is one datagram, big-endian; the sections follow the flags in this
// order, each if its flag is set:
//
//	flags u8      1 ack, 2 ping, 4 pong, 8 live, 16 data; data asks for live; others are zero
//	ack           cum u64: the first sequence number that is missing; n u8: 0 to 8;
//	              n words u64: bit i of word w is cum+1+64w+i; the last word is not zero
//	ping          u64, any number
//	pong          u64, the number of the ping
//	live          u64: fragments below are given up or acknowledged, do not wait for them
//	data          seq u64, frag u16, count u16, then the payload to the packet's end
//
// Fragment frag of the count of one message has the sequence number
// (number of fragment 0) + frag. A fragment that is sent again keeps its number.
//
// Source: LeMahieu, Bohossian, Bruck et al., "RAIN", section on RUDP. Here the
// failure of a send is the failure detector, so the timers are those of a LAN.
package rudp
