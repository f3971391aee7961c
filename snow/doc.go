// Package snow is the web server of a node: it serves the sites that package
// site finds in the content store, on the node's own addresses and on the VIPs
// that it holds.
//
// A request's way: framing checks (strict.go) -> lease check, on a VIP only ->
// host and path (target.go) -> a mounted handler, or site -> file -> httpfile.
//
// Guarantees: on a VIP nothing is answered unless the lease runs and the node
// acts for the VIP; a late lease is waited for up to LeaseWait, then the
// connection is closed without a byte. After a planned hand-over the requests of
// connections that were accepted before are answered, with Connection: close: no
// accepted connection is closed unanswered. When the node or an address goes
// (Shutdown, Leave), each answer says Connection: close, and where no request
// begins in time the connection is closed, after a last look at what came. A
// response that has begun goes on: its bytes are pinned by their hash.
// Each request sees one version of one site, whole. Malformed requests get a 4xx
// and the connection is closed. A client that takes no byte for WriteStall is
// dropped, one that sends too slowly gets 408.
//
// A GET that lives longer than a rotation of the token is an entry on the request
// queue (package queue), if Deps.Queue is given: RunQueue tells of its beginning,
// once a second how far it is, and its end, and settles what this node claims of
// dead ones. A short request costs it some atomic writes.
//
// Limits: HTTP/1.0 and 1.1; sites by GET, HEAD and OPTIONS; MaxURI bytes of
// request target, MaxHeaders header lines, HeaderBytes of header in all; bodies
// of GET, HEAD and OPTIONS up to MaxGetBody, others up to Config.MaxBody.
//
// Source: RFC 9110, RFC 9112.
package snow
