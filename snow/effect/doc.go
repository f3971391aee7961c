// Package effect runs requests that change something so that each has exactly
// one outcome, whichever nodes die meanwhile.
//
// The way of a request with an effect:
//
//  1. Prepare: what it needs is stored (a body on enough disks). In vain it does
//     no harm.
//  2. Begin: its entry, with the input, is committed on the token and durable on
//     a quorum's disks. From here on the cluster owes it an outcome.
//  3. Run: a pure function of the stored input makes an op and a note.
//  4. Finish: op and note are committed and durable in one step; the first
//     outcome of an entry stands, a second one changes nothing. All members have
//     applied it before the answer.
//  5. Answer: a pure function of note and the op's result makes the response. Its
//     first byte leaves after that.
//
// The lease is checked before 2, 3 and 4. If the node dies after 2, the member
// that owns the entry then does 3 and 4.
//
// Guarantees. An entry's op is applied once or, if no outcome is ever recorded,
// never. With a key (Idempotency-Key, draft-ietf-httpapi-idempotency-key-header)
// a repeat at any node gets the recorded answer, for queue.Keep at least; ErrRunning
// while it runs; ErrMismatch if it is another request. Keys count in their scope.
// Without a key a request takes effect at most once.
//
// A Caller is an effect that is no pure function: an application outside. It is
// called at most once, by the node that began the entry, after Begin. If that
// node dies before the answer is recorded, nobody knows what the application did:
// the outcome recorded is 503 outcome_unknown, and no second call is made.
//
// Limits: keys of 1 to MaxKey characters; inputs of queue.MaxInput bytes, notes
// of queue.MaxAnswer; Config.MaxRunning effects at once on a node, more get
// ErrBusy; the queue's bounds cluster-wide (ErrFull). A request that is not
// answered in Config.Timeout gets ErrUnknown and goes on without its client.
//
// Errors say by their kind what happened: ErrNotNow, ErrBusy, ErrFull: nothing did
// and nothing will; ErrUnknown: ask again with the same key.
package effect
