// Package pace says how fast a node may send big bytes, so that the token is not
// held up behind them. It is a pure core: no clock, socket, goroutine or chance.
// Time is an argument.
//
// Nobody tells a node how much its cables carry, or how much others send over the
// same ones. But all of them share the token, and see it come late when a queue on
// its way is full. A Limit is what they do about it: nothing as long as the token is
// on time; when it is late while this node sends much, less than it has just sent;
// then slowly more, until the limit holds nothing back. All nodes that send see the
// same token, so all of them give way.
//
// Guarantees: Take never asks to wait longer than MaxWait; a Limit is never below
// Config.Least; a node that sends little is never limited.
//
// Limits: a token that is late for another reason, such as processors that have no
// time, slows big bytes as well: they take that time, too. What waits in the kernel
// or the network is sent as it was.
package pace
