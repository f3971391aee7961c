package effect

import (
	"context"
	"errors"
	"net/netip"

	"rain/ring"
	"rain/snow/queue"
)

// Effect is one kind of request that changes something.
type Effect interface {
	// Name is the same on all nodes, for ever: a survivor finds the effect by it.
	// At most queue.MaxName bytes.
	Name() string
	// Run says what the stored input does. It is a pure function: equal input,
	// equal action, on every node and at every time. An error is a bug or an
	// input of another version; the entry then waits for a node that knows it.
	Run(input []byte) (Action, error)
	// Answer makes the response of what was recorded; pure, too. result is what
	// the rider said to the op; empty without an op.
	Answer(note, result []byte) (Response, error)
}

// Caller is an Effect that asks an application outside, instead of Run. Its note
// is the application's answer.
type Caller interface {
	Effect
	// Call is made at most once for an entry. With an error that wraps
	// ErrNotCalled the application has not heard of it: the entry goes, its key is
	// free. With another one it may have acted or not: the outcome is Unknown's
	// note.
	Call(ctx context.Context, id queue.EntryID, input []byte) (note []byte, err error)
	// Unknown is the note where nobody knows what the application did.
	Unknown() []byte
}

// Action is what an effect does: an op for a rider (0: none), and a note that is
// recorded beside it.
type Action struct {
	Rider ring.RiderID
	Op    []byte
	Note  []byte
}

// Request is a request with an effect.
type Request struct {
	Scope       string // of the key: the site, or another space of names
	Key         string // parsed; "": none
	Fingerprint queue.Sum
	Input       []byte        // at most queue.MaxInput bytes
	ID          queue.EntryID // set by Do before prepare

	// For the queue as people see it. Longer texts are cut.
	Client             netip.AddrPort
	Method, Host, Path string
}

// Response is what a client gets.
type Response struct {
	Status int
	Header []Field
	Body   []byte
}

// Field is one header field.
type Field struct{ Name, Value string }

// Outcome is what was recorded.
type Outcome struct {
	ID       queue.EntryID
	Note     []byte
	Result   []byte
	Replayed bool // recorded for an earlier request with the same key
}

// Kinds of errors. They come wrapped with what and where.
var (
	ErrRunning  = errors.New("a request with this Idempotency-Key is still running; repeat it later for its answer")
	ErrMismatch = errors.New("this Idempotency-Key came with another request before; take a new key for a new request")
	ErrNotNow   = errors.New("this node may not act now; ask another one, or again later")
	ErrBusy     = errors.New("too many requests with effects run on this node; try again later")
	ErrFull     = errors.New("no room for more requests with effects; keys are kept for 24 hours; try again later")
	// ErrNotCalled is a Caller's: no byte of the request reached the application.
	ErrNotCalled = errors.New("the application cannot be reached")
	ErrUnknown   = errors.New("the outcome is not known yet; repeat the request with the same Idempotency-Key for it")
)
