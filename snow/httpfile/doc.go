// Package httpfile answers a GET or HEAD request with one stored file, as
// RFC 9110 has it: validators, every conditional header in the order of
// section 13.2.2, single and multiple byte ranges, content codings.
//
// Guarantees: a body is written with its exact Content-Length or the
// connection ends early; equal file and equal request give equal bytes (but for
// Date), multipart boundaries included, so that another node can go on with a
// response. Range is honoured for GET only.
//
// Limits: at most MaxRanges ranges after which Range is ignored; ranges that
// overlap or touch are merged, which also sorts them.
//
// Large files leave by sendfile where the connection offers SendFile, small
// ones in the same write as their header.
//
// Source: RFC 9110 sections 8.8, 12.5.3, 13 and 14.
package httpfile
