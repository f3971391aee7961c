// Package client talks to the admin addresses of a cluster.
//
// Guarantees: a call asks the next URL when one does not answer or says 503,
// each at most once; a change whose outcome is unknown is sent again only if
// twice is the same as once, else the call fails with code "outcome_unknown".
// Conditional puts carry an idempotency key, so that a repeat does not trip
// over its own success.
//
// Limits: Timeout bounds a call without a body, and for a call with one the
// time without a byte of progress. Answers other than objects may have 64 MiB.
package client
