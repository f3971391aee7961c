package netlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Keepers are clients that keep their connections and think between two requests,
// as browsers do. Before a request they look whether the server has closed the
// connection, and then open another; no request is sent twice.
type Keepers struct {
	c    *Cluster
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	ok     int
	closed int      // connections that the server ended in order
	failed []string // requests without an answer
}

// Keep starts so many of them. They think for longer than a hand-over waits for
// requests.
func (c *Cluster) Keep(clients int, think time.Duration) *Keepers {
	ctx, stop := context.WithCancel(context.Background())
	k := &Keepers{c: c, stop: stop}
	for i := range clients {
		k.wg.Go(func() {
			first := think * time.Duration(i) / time.Duration(clients)
			k.run(ctx, first, think)
		})
	}
	return k
}

// Stop ends them and tells how it went.
func (k *Keepers) Stop() (ok, closed int, failed []string) {
	k.stop()
	k.wg.Wait()
	return k.ok, k.closed, k.failed
}

func (k *Keepers) run(ctx context.Context, first, think time.Duration) {
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close() // it only was a client's
		}
	}()
	for wait := first; ; wait = think {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		kept := conn != nil
		ended := false
		err := k.c.Try(k.c.ClientNS(), func() (err error) {
			conn, ended, err = ask(conn, k.c.VIP.String())
			return err
		})
		k.mu.Lock()
		if ended {
			k.closed++
		}
		if err != nil {
			k.failed = append(k.failed, fmt.Sprintf("%s: kept %v, ended %v: %v", time.Now().Format("05.000"), kept, ended, err))
			conn = nil
		} else {
			k.ok++
		}
		k.mu.Unlock()
	}
}

// ask sends a request over conn, or over a new connection if the server has ended
// conn meanwhile.
func ask(conn net.Conn, to string) (_ net.Conn, ended bool, err error) {
	if conn != nil {
		// A moment for what is there already.
		if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return nil, false, err
		}
		_, err := conn.Read(make([]byte, 1))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, io.EOF):
			_ = conn.Close() // the server's end comes first
			conn, ended = nil, true
		default:
			return nil, false, fmt.Errorf("while it idled: %w", err)
		}
	}
	if conn == nil {
		if conn, err = net.DialTimeout("tcp", to, 3*time.Second); err != nil {
			return nil, ended, err
		}
	}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, ended, err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: lab.rain\r\n\r\n"); err != nil {
		return nil, ended, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, ended, err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(b), "hello\n") {
		return nil, ended, fmt.Errorf("answer %d %q, %w", resp.StatusCode, b, err)
	}
	if resp.Close {
		_ = conn.Close() // told so
		return nil, true, nil
	}
	return conn, ended, nil
}
