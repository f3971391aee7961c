// Package bundle makes one stream of bytes out of several connections to the
// same peer, so that all links carry load and none is missed when it dies.
//
// Guarantees, between two Streams whose legs are connected to each other: what
// one writes the other reads, once and in order, as long as one leg works or a
// new one comes in time. The bytes travel in pieces; whichever leg has room
// takes the next one, so a fast link carries more. A piece is kept until the
// peer has it. What a leg has not delivered when it ends, or when nothing was
// acknowledged on it for its Patience, is sent by the others as well; what comes
// twice is dropped.
//
// Limits: Window bytes in each direction that the peer's program has not read
// yet, so a Stream holds at most twice Window; pieces of at most MaxPiece bytes.
// A leg has no more on its way than it carries in a short while, see leg.go: a
// slow link does not hold up the end of a transfer.
//
// Frames of a leg, big-endian, each begins with its type u8:
//
//	1 data  len u32, offset u64, then len bytes of the stream from there
//	2 ack   on u64 bytes of data that came on this leg, next u64 the first byte
//	        of the stream that is missing, eaten u64 bytes that were read
//	3 fin   end u64: the stream has so many bytes
//
// The connections must prove who is at the other end. A peer that breaks the
// rules above ends its leg, not the process.
package bundle
