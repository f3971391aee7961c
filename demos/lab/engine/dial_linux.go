package engine

import (
	"context"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Door is a client of what listens inside a host, from outside the laboratory: to
// start a program there for each question would take the processors from the
// nodes. Close it.
type Door struct {
	*http.Client
	ns *os.File
}

// NewDoor opens a door to a host of the laboratory in dir.
func NewDoor(dir, host string, timeout time.Duration) (*Door, error) {
	ns, err := Namespace(dir, host)
	if err != nil {
		return nil, err
	}
	return &Door{ns: ns, Client: &http.Client{Timeout: timeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialIn(ctx, ns, network, addr)
		},
	}}}, nil
}

// Close ends idle connections.
func (d *Door) Close() {
	d.CloseIdleConnections()
	_ = d.ns.Close() // only looked at
}

// dialIn makes a connection in a network namespace. Its thread is not used again.
func dialIn(ctx context.Context, ns *os.File, network, addr string) (c net.Conn, err error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // and never given back: it ends in that namespace
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			var d net.Dialer
			c, err = d.DialContext(ctx, network, addr)
		}
	})
	wg.Wait()
	return c, err
}
