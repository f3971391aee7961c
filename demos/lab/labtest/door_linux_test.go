package labtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rain/demos/lab/engine"
	"rain/snow/admin"
)

// doors ask the nodes from inside their hosts, over connections that stay open:
// a program started for each question would take the processors from the nodes.
type doors struct {
	mu     sync.Mutex
	byHost map[string]*http.Client
}

// door is a client of the node in a host.
func (l *lab) door(host string) (*http.Client, error) {
	l.doors.mu.Lock()
	defer l.doors.mu.Unlock()
	if c := l.doors.byHost[host]; c != nil {
		return c, nil
	}
	ns, err := engine.Namespace(l.dir, host)
	if err != nil {
		return nil, err
	}
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialIn(ctx, ns, network, addr)
		},
	}}
	if l.doors.byHost == nil {
		l.doors.byHost = map[string]*http.Client{}
	}
	l.doors.byHost[host] = c
	l.t.Cleanup(func() {
		c.CloseIdleConnections()
		_ = ns.Close() // only looked at
	})
	return c, nil
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

// ask gets what the admin API of the node in a host says.
func (l *lab) ask(host, path string, into any) error {
	c, err := l.door(host)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:8081"+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // all of it is read
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", host, resp.Status, b)
	}
	return json.Unmarshal(b, into)
}

func (l *lab) status(host string) (st admin.Status, err error) {
	err = l.ask(host, "/api/v1/status", &st)
	return st, err
}
