// Package catalog is the table of buckets and objects that every member keeps
// in memory: the core of the store, and a durable rider of the ring.
//
// Guarantees: members that have applied the same ops have the same table and
// write the same snapshot, byte for byte. An op is applied whole or not at all.
// A View is immutable: readers take it without a lock and keep it as long as
// they like. Of several conditional puts at most those whose condition held in
// the order of the token take effect.
//
// Limits: bucket 3 to 63 bytes of a-z 0-9 . -, those that begin with a dot are
// reserved for the programs themselves; key 1 to 1024 bytes of UTF-8 without
// NUL; content type 255 bytes; 32 entries of metadata, 2 KiB in all; 4096
// buckets. Apply is O(log n); an object takes about 400 bytes of memory and its
// strings.
//
// Durability is the ring's: its log and its snapshots are on disk. Here is no
// clock, disk or socket.
//
// Op, big-endian; str8 and str16 are a length of that many bits and the bytes:
//
//	version u8 = 1 | kind u8 | bucket str8
//	  kind 1, make bucket: n u16 | k u16
//	  kind 2, put:         key str16 | condition | record
//	  kind 3, delete:      key str16 | condition
//	condition: flags u8 (1: if absent, 2: if match) | etag str8, with flag 2
//	record: sha256 [32] | size u64 | modified i64 (Unix s) | n u16 | k u16 |
//	        type str8 | count u8 | count x (name str8 | value str16), names ascending
//
// An op of version 2 is a put of a striped body; its record goes on with
//
//	unit u32 | n x node u32, in the order of their columns, at most 32
//
// An op of version 3 is
//
//	kind 1, make bucket: bucket str8 | n u16 | k u16 | least u8, at least 1: losses
//	                     that an object must survive when it is put
//	kind 4, layout:      base u64 | layout; base is the version of the one before, 0: none
//	kind 5, move:        body [32] | column u16 | from u32 | to u32
//	layout: count u16 x node u32, ascending | count u16 x (old u32 | new u32), ascending
//
// Places. A record says which node has which column. When a column has moved, all
// objects with that body say so, and Record.Origin keeps whom the put chose: they
// give the body its name, which stays. A put of a body that is there takes over
// its places.
//
// Result: version u8 = 1 | outcome u8 | object version u64 | etag str8
//
// Snapshot: "RAINCAT1", then frames of length u32 | payload | crc32c u32 (of
// length and payload), the layout first, then ascending by bucket and key:
//
//	7 | version u64 | layout                                     the layout, if one was set
//	1 | bucket str8 | n u16 | k u16                              a bucket
//	2 | bucket str8 | key str16 | version u64 | record           an object of it
//	4 | the same                                                 one with a striped body
//	5 | the same | n x node u32                                  one whose columns moved: Origin
//	6 | bucket str8 | n u16 | k u16 | least u8                   a bucket with a least
//	3 | buckets u64 | objects u64                                the end
package catalog
