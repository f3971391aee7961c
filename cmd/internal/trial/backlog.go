//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// backlog freezes the holder, sends requests that wait in its accept queue, and
// thaws it when another has taken over. A node without a lease must answer none
// of them.
func backlog(ctx context.Context, c *cluster, o options) error {
	n := o.n
	if n == 0 {
		n = 10
	}
	stale, answered, closed := 0, 0, 0
	for range n {
		s, a, cl, err := oneBacklog(ctx, c)
		if err != nil {
			return err
		}
		stale, answered, closed = stale+s, answered+a, closed+cl
	}
	fmt.Printf("backlog: %d rounds, %d requests closed without an answer, %d answered by a holder with a lease, %d by the frozen node; load %s\n",
		n, closed, answered, stale, load())
	if stale > 0 {
		return fmt.Errorf("%d requests were answered by a node without lease", stale)
	}
	return nil
}

func oneBacklog(ctx context.Context, c *cluster) (stale, answered, closed int, err error) {
	if err := c.whole(ctx); err != nil {
		return 0, 0, 0, err
	}
	name, err := c.holder(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	node, err := c.node(name)
	if err != nil {
		return 0, 0, 0, err
	}
	if err := syscall.Kill(node.Pid, syscall.SIGSTOP); err != nil {
		return 0, 0, 0, err
	}
	who := make(chan answer, 64)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { h := ask(c.file.VIPs[0]); who <- answer{h, time.Now()} })
		sleep(ctx, 4*time.Millisecond)
	}
	for { // until another answers
		if h := ask(c.file.VIPs[0]); h != "" && h != name {
			break
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return 0, 0, 0, ctx.Err()
		}
	}
	thaw := time.Now()
	if err := syscall.Kill(node.Pid, syscall.SIGCONT); err != nil {
		return 0, 0, 0, err
	}
	wg.Wait()
	close(who)
	for a := range who {
		switch {
		case a.node == "":
			closed++
		case a.node == name && a.at.After(thaw):
			stale++
		default: // also the frozen one, if its last thread stopped a moment later
			answered++
		}
	}
	return stale, answered, closed, nil
}

// answer is who answered, and when.
type answer struct {
	node string
	at   time.Time
}

// ask sends one request on a new connection and tells which node answered; "":
// none did.
func ask(addr string) string {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a TCP connection always takes one
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: demo.rain\r\nConnection: close\r\n\r\n"); err != nil {
		return ""
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	return resp.Header.Get("X-Rain-Node")
}
