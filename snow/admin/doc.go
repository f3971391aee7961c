// Package admin is the HTTP address for operators and their programs: status,
// events, objects, sites, films, drains, faults, health and metrics of one node.
//
// Guarantees: every JSON answer carries "api":1 at its top; all but /healthz,
// /readyz (and /metrics, if public) asks for the token, by "Authorization:
// Bearer TOKEN" or Basic with user "admin", compared in constant time; a body
// cut short is never taken for a whole one; a put that was answered with 201
// or 200 is as durable as the store says.
//
// An Idempotency-Key on a put is kept with the object: a repeat with the same
// body gets the first answer, one with another body 422, one while the first
// runs on this node 409. It is forgotten when the key is written again without
// it or the object is deleted.
//
// Limits: headers 16 KiB, URI 8 KiB, JSON bodies 32 MiB, objects as the store
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
