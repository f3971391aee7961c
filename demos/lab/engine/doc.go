// Package engine runs a laboratory: it joins the hosts of package box by the
// fabric, starts nodes in them, and does what it is told over a Unix socket.
// Linux, and root.
package engine
