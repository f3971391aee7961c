//go:build !linux

package transport

import "net"

// endpoint is a UDP socket.
type endpoint struct{ *net.UDPConn }

func detach(conn *net.UDPConn) (*endpoint, error) { return &endpoint{conn}, nil }
