// Package store keeps objects on all members of a cluster: the table of them
// rides on the token (package catalog), their bodies lie whole on each node.
//
// Guarantees. When Put returns, every member of the view answers with the new
// version, and the body is on disk, synced, on more than half of the view; the
// others fetch it. A crash anywhere leaves the old version or the new one,
// never a mixture. What is read is what was put: small bodies are held to their
// SHA-256 when they are loaded, large ones at their first opening in the
// background and then by a slow scrub of everything; a bad copy counts as lost
// and is fetched from another member. Of conditional puts that race, one wins.
//
// Limits. Bodies up to Config.MaxObject; names and metadata as in package
// catalog. A node with less free space than Config.ReserveBytes takes no bodies
// (ErrNoSpace). Without a quorum all writes fail with ErrUnavailable and reads
// go on from what this node knows, which may be old. An error that wraps
// ring.ErrOutcomeUnknown or a deadline says that the put may yet take effect.
//
// On disk, below Config.Dir: objects/ab/SHA256 (hex; ab are its first two
// digits), written as tmp/NAME, synced, renamed, folder synced. What no object
// refers to goes after Config.OrphanGrace.
//
// Between nodes, big-endian, on a bulk connection, which carries any number of
// requests one after the other:
//
//	request: version u8 = 1 | kind u8 | sha256 [32] | size u64
//	"store.put"  kind 1, small: size bytes follow; reply: status u8
//	             kind 2, stream: reply go, have or no space; after go frames of
//	             length u32 | bytes, then length 0 | sha256 [32]; reply: status u8
//	             (sha256 zero and size 2^64-1 in the request: not known yet)
//	"store.get"  kind 3: reply: status u8 | size u64 | the body
//	"store.lack" kind 4: reply: count u32 | the first 4096 of the hashes whose
//	             bodies the node should have and lacks
//
// Status: 1 stored, 2 have, 3 go, 4 no space, 5 other hash, 6 failed, 7 absent.
package store
