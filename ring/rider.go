package ring

import "io"

// A Rider is replicated state that travels with the token. Apply is called on
// every member with the same ops in the same order. All methods are called
// from one goroutine (the shell's loop), never at the same time.
type Rider interface {
	// Apply changes the state by one committed op. The result goes to the
	// local Propose on the member that proposed it. What an op needs of time
	// or chance rides in the op. from may have been removed meanwhile. A
	// malformed op must change nothing and say so in the result: it may come
	// from another version of the program.
	Apply(index uint64, from Member, op []byte) (result []byte)
	// View comes in the same order as ops. freeAt is when what belonged to
	// members that left may be used by others, by this host's clock; it covers
	// every view change at this or a lower index.
	View(index uint64, v View, freeAt Instant)
	// Snapshot writes the whole state as it is now. It must be equal, byte for
	// byte, on members that have applied the same ops.
	Snapshot(w io.Writer) error
	// Restore replaces the whole state, also what was applied before. A View
	// with the restored view and its own freeAt follows.
	Restore(r io.Reader) error
}
