package client

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	// nextWay is how long one address of a node is tried before the next one is
	// tried beside it.
	nextWay = 100 * time.Millisecond
)

// ways knows the further addresses of nodes with several interfaces. All of a
// node's are as good: a connection goes to the one that answers first, and to
// that one first from then on.
type ways struct {
	mu    sync.Mutex
	of    map[string][]string // by the address that is asked for
	dials func(ctx context.Context, network, addr string) (net.Conn, error)
}

func newWays() *ways {
	return &ways{of: map[string][]string{}, dials: (&net.Dialer{Timeout: dialTimeout}).DialContext}
}

// add notes that the node with the admin URL main has others as well.
func (w *ways) add(main string, others []string) error {
	all := []string{}
	for _, s := range append([]string{main}, others...) {
		u, err := url.Parse(s)
		if err != nil {
			return err
		}
		all = append(all, u.Host)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[all[0]] = all
	return nil
}

func (w *ways) list(addr string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if all := w.of[addr]; len(all) > 1 {
		return append([]string(nil), all...)
	}
	return []string{addr}
}

// prefer puts the address that answered before the others.
func (w *ways) prefer(addr, best string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []string{best}
	for _, a := range w.of[addr] {
		if a != best {
			all = append(all, a)
		}
	}
	w.of[addr] = all
}

// dialed is how one try went.
type dialed struct {
	addr string
	conn net.Conn
	err  error
}

// dial connects to the first address of the node that answers.
func (w *ways) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	all := w.list(addr)
	if len(all) == 1 {
		return w.dials(ctx, network, all[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan dialed)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	open := 0
	try := func() {
		at := all[0]
		all = all[1:]
		open++
		wg.Go(func() {
			c, err := w.dials(ctx, network, at)
			select {
			case results <- dialed{at, c, err}:
			case <-ctx.Done():
				if c != nil {
					_ = c.Close() // another one was first
				}
			}
		})
	}
	try()
	late := time.NewTicker(nextWay)
	defer late.Stop()
	var errs []error
	for open > 0 {
		select {
		case d := <-results:
			open--
			if d.err == nil {
				w.prefer(addr, d.addr)
				return d.conn, nil
			}
			errs = append(errs, d.err)
			if len(all) > 0 {
				try()
			}
		case <-late.C:
			if len(all) > 0 {
				try()
			}
		}
	}
	return nil, errors.Join(errs...)
}
