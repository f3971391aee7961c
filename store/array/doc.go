// Package array cuts objects into blocks and codes the blocks so that any k of
// n columns give them back.
//
// An object of some size is a row of blocks of k stripe units each; the last
// block may be shorter. Column c below k of a block is its c-th unit, the
// columns from k on are parities of equal length. The last block's units are as
// short as they may be: its bytes by k, rounded up; what its last data columns
// miss is zero and not part of the object. Consecutive blocks make a window,
// which is what readers load at once (about a MiB of the object); windows make
// a part of at most 64 MiB, which is what one symbol file holds of a column.
//
// Guarantees: layouts and codes are pure functions; any k columns of a block
// give it back, whichever are lost. A Code may be used by many goroutines.
//
// Limits: 1 to 32 columns, units of 1 byte to 1 MiB.
//
// The code today is Reed-Solomon over GF(2^8) (klauspost/reedsolomon,
// Vandermonde matrix made systematic); it runs in the goroutine that calls it,
// over units that are still warm. Code leaves room for XOR codes.
package array
