// Package flood attacks a node with datagrams as a stranger on its network can:
// who hears all and has no key. It knows what the nodes said to each other (a pcap
// file of 'lab capture') and sends, in equal parts and in random order:
//
//   - junk: random bytes of random length;
//   - headers: what was heard, with random bytes after the header of a datagram;
//   - flips: what was heard, with one bit turned;
//   - replays: what was heard, as it was.
//
// All chance comes from the seed. A node must count these and do nothing else.
//
// Limit: IPv4 without options, UDP; at most MaxHeard datagrams are kept.
package flood
