// Package store keeps objects on the members of a cluster: the table of them
// rides on the token (package catalog). A body of at most 64 KiB lies whole on
// every member. A larger one is striped: cut and coded by package array, a column
// on each of n storage nodes as symbol files (package symbol), any k of which
// give it back. Which nodes, in which order, is in the object's record: all of
// the layout up to six, else those that a rendezvous hash of the body's beginning
// draws. The layout is what an operator has set; until then, the ring's list.
//
// Guarantees. When Put returns, every member of the view answers with the new
// version, and the body is on disk, synced: whole or its column on more than half
// of the living members that should have it, on this one if it is among them,
// and at least k columns; the others get theirs later, by repair. A crash
// anywhere leaves the old version or the new one, never a mixture. What is read is
// what was put: small bodies are held to their SHA-256 when they are loaded, each
// unit of a column to its checksum whenever it is read; a bad copy or unit
// counts as lost and is made anew from other members. A slow scrub reads all. Of
// conditional puts that race, one wins.
//
// Reads. This node's own column first, then those of the members that are
// cheapest by measured latency and load. A member that has not answered after
// the 95th percentile costs a hedge: the next one is asked, and it comes last for
// some seconds. A short range moves only the units that it touches; sequential
// reads load windows of about a MiB, two ahead while little else is loaded. Nodes
// that are not in the view are asked last, and before an object is refused. Decoded windows are kept in
// memory up to Config.WindowBytes, bodies that are opened again and again as files
// up to Config.DecodedBytes, so that they go out by sendfile.
//
// Memory. A put holds up to 16 coded blocks (4 MiB at n = 4) and 1 MiB; a
// sequential reader up to three windows besides the cache.
//
// Repair. A node makes exactly the symbols that it lacks, from k others, those
// that could lose least first, at Config.RepairBytesPerSecond read.
//
// Moves. The columns of a node that is off the layout, or away for longer than
// Config.RebuildAfter (as each member has seen it), go to storage nodes that are
// up and have none of the object: to the heir that replaced it, else to whom a
// rendezvous hash draws, so that all members find the same. The new node makes
// the column, from the old one where that is up, syncs it and proposes the move;
// then readers use it. Without such a node the column stays where it is. Moves
// have the repair's rate a second time, for themselves.
//
// Promises. A bucket may demand that its objects survive a number of losses: a put
// of which fewer symbols are stored is refused, with ErrUnavailable while nodes
// are away, with ErrTooWeak if the layout can never do it.
//
// Limits. Bodies up to Config.MaxObject; names and metadata as in package
// catalog. A node with less free space than Config.ReserveBytes takes no bodies
// (ErrNoSpace). Without a quorum all writes fail with ErrUnavailable and reads
// go on from what this node knows, which may be old. An error that wraps
// ring.ErrOutcomeUnknown or a deadline says that the put may yet take effect.
//
// API: Config, Deps and their interfaces, Store's methods and the errors stay as they
// are, or get a new name; fields may be added to structs that are returned. What an
// outside program must bring is in Deps: an order of ops (package ring, or anything
// that applies them everywhere in one order, on disk first), connections, and their
// handlers. The example has them in memory.
//
// On disk, below Config.Dir: objects/ab/NAME (hex; ab are its first two digits):
// the body, NAME being its SHA-256; or a column of one part of a striped body,
// NAME being a hash of content and layout with the part's number in its last four
// bytes, equal on all nodes. Written as tmp/N, synced, renamed, folder synced.
// What no object refers to goes after Config.OrphanGrace, unless a member of the
// view has it open: each is asked, and if one does not answer all stays. A node
// that is not in the view is not asked; its readers have the grace. What an op
// deleted or replaced goes after two seconds where none of that can matter, see
// spentLoop. A client that reads symbols itself (rainvideo play) has the body open
// at each node that it read from, for Config.OrphanGrace after its last read.
// decoded/ is a cache.
//
// Between nodes, big-endian, on a bulk connection, which carries any number of
// requests one after the other:
//
//	request: version u8 = 1 | kind u8 | name [32] | size u64
//	"store.put"  kind 1, small: size bytes follow; reply: status u8
//	             kind 5, column: n u16 | k u16 | column u16 | unit u32 follow; name
//	             zero or size (of the object) 2^64-1: not known yet; reply go, have
//	             or no space; after go units of length u32 | bytes | checksum u32,
//	             then length 0 | name [32] | sha256 [32] | size u64; reply: status u8
//	"store.get"  kind 3: reply: status u8 | size u64 | the whole body
//	             kind 6, units: size is first block of the part << 32 | blocks;
//	             reply: status u8 | column u16 | length u32 | units with checksums
//	"store.lack" kind 4: reply: count u32 | the first 4096 of the names of what
//	             the node should have and lacks
//	"store.care" orders of an operator, and what is open: length u32 | JSON of a
//	             CareOrder; reply: length u32 | JSON of a CareReport
//
// Status: 1 stored, 2 have, 3 go, 4 no space, 5 other hash, 6 failed, 7 absent.
package store
