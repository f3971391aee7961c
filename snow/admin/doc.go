// Package admin is the HTTP address for operators and their programs: status,
// events, objects, sites, films, drains, faults, health and metrics of one node.
//
// Guarantees: every JSON answer carries "api":1 at its top; all but /healthz,
// /readyz, the page (/ and /gui/; and /metrics, if public) asks for the token, by "Authorization:
// Bearer TOKEN" or Basic with user "admin", compared in constant time; a body
// cut short is never taken for a whole one; a put that was answered with 201
// or 200 is as durable as the store says.
//
// A put or a delete of an object with an Idempotency-Key takes effect once, also
// if the node dies meanwhile; a repeat at any node gets the recorded answer (also
// a 412) for 24 hours or longer, with Idempotency-Replayed: true; 409 while it
// runs, 422 if it is another request. See package effect. Without a key a write is
// one op on the token, applied once or never; repeating it may do it twice.
//
// With Deps.Fresh reads of an object are linearizable with its writes, at any
// node: GET, HEAD and ?info never show an older state than anybody has been told
// before they began. An answer that cannot promise that has X-Rain-State: isolated.
// Lists promise less: what was acknowledged before is in them.
//
// Pages of the cluster's own admin origins may ask across origins, with a bearer
// token; no other page may. See Deps.Origins and the live stream's call.live.
//
// Limits: at most LiveClients live streams; headers 16 KiB, URI 8 KiB, JSON bodies 32 MiB, objects as the store
// allows; a client that neither sends nor takes a byte for 30 s is dropped, and
// an upload slower than 16 KiB/s on average too; wrong tokens: 20 at once and
// then two a second for each address (IPv6: each /64), then 429 for it, right
// token or not. A missing token is no attempt and is not counted.
//
// Errors are {"api":1,"error":{"code","text","hint"}}; errors.go has the table.
// Sizes are bytes, times RFC 3339.
package admin

// API is the version that every JSON answer carries.
const API = 1
