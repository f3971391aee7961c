// Package session knows who watches which film, how far, and which node sends
// it: the stream states that ride on the token. It is a rider of the ring and a
// tracker beside it, both pure: no clock, no socket, no chance.
//
// A session is one viewing of one film, named by an ID that the viewer carries
// from node to node. Each node tells once a second what it has sent since (one
// op, a batch), so that every member knows all sessions, whoever sends them.
//
// Guarantees, on every member that has applied the same ops and views:
//   - the tables are equal, byte for byte in a snapshot;
//   - a session has exactly one owner, a member of the newest view. It changes
//     hands in two ways only: by the view change in which its owner is missing
//     (to the member that Heir names, a function of the view and the ID), or by a
//     claim of a node that sends it and names the ownership that it replaces:
//     of two claims at once one counts;
//   - a session's position never falls, but for the viewer's own seek back,
//     which begins a new count (Entry.Seeks); what is told late of an older
//     count moves nothing;
//   - what is told counts once: a batch has a number, and one that was applied is
//     not applied again, so that a node may send it anew when it does not know
//     what became of it.
//
// What a death loses: what the dead node had sent and not told, at most about a
// second of position and bytes.
//
// Position is in milliseconds from the film's beginning: the newest part asked
// for (HLS) or sent (one file). The picture that the viewer sees is behind it by
// what his player has in hand.
//
// Limits: MaxSessions sessions; those that begin above it are counted as dropped
// and served all the same. MaxItems items a batch. A session that no node has
// told of for Config.IdleAfter is ended by its owner.
//
// What an op knows of time (wall clock, ms) its proposer put there; it is shown
// to people and decides nothing.
package session
