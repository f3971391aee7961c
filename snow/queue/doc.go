// Package queue is the http request queue that rides on the token: who answers
// which request, how far it is, and what the outcome of a request with an effect
// was. It is a rider of the ring and a pure core: no clock, no socket.
//
// An entry is a stream (a GET that lives longer than a rotation) or an effect (a
// request that changes something). Its id is the member that took the request
// and a counter of that member.
//
// Guarantees, on every member that has applied the same ops and views:
//   - the tables are equal, byte for byte in a snapshot;
//   - each entry that is not done has exactly one owner, a member of the newest
//     view. When its owner leaves the view, or comes back as another
//     incarnation, a survivor owns it: round robin over the new view in the order
//     of the ids, beginning at the view's number. It is claimed then, and Claimed
//     counts one for each change of owner;
//   - only the owner changes an entry. What a former owner still had under way
//     changes nothing;
//   - an effect has at most one outcome, the first. The op that it stands for is
//     applied in the same step as the outcome is recorded, or not at all;
//   - (scope, key) names at most one effect for Keep of the cluster's time after
//     its end.
//
// Acting rule: a member settles or runs an entry iff Entry.Owner is itself, its
// lease runs, and Table.FreeAt is past by its own clock.
//
// Cluster time: the table counts milliseconds by Tick ops. A tick carries what
// its proposer measured, monotonic, since it applied the tick before; a tick that
// is not the next one counts nothing. So the sum is never more than the time that
// passed, whatever wall clocks do, and stands still while no quorum runs, and
// while there is no effect. Keep is 24 h of it: keys live 24 h or longer.
//
// Limits: MaxStreams streams (more are dropped and counted, their requests go
// on), MaxEffects effects of at most MaxEffectBytes in all (more are refused with
// Full), texts and bytes as the constants say. An op beyond them, or malformed,
// changes nothing.
//
// Wall clock times (ms) are their proposers'; they are shown to people and decide
// nothing.
//
// Source: SNOW in "Computing in the RAIN" (the http queue attached to the token);
// Frolund and Guerraoui, "e-Transactions" (write-once registers for owner and
// outcome); draft-ietf-httpapi-idempotency-key-header.
package queue
