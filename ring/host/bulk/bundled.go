package bulk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"rain/ring"
	"rain/ring/host/bulk/bundle"
)

// Where both nodes have several links a service's connection is a bundle of
// them, see rain/ring/host/bulk/bundle: the first one begins it, the others join
// when it has carried enough to be worth it, or when one dies.
const (
	bundleBit = 0x80 // of the length of the service's name: begin a bundle
	joinByte  = 0xff // instead of it: join the bundle whose token follows
	tokenSize = 16
	// A client that misses a link tries again after rejoin, then more rarely.
	rejoin    = 500 * time.Millisecond
	rejoinMax = 10 * time.Second
)

type token [tokenSize]byte

func bundleConfig(p *Pacer) bundle.Config {
	cfg := bundle.DefaultConfig()
	if p != nil {
		cfg.Pace = p.book
	}
	return cfg
}

// request is what a client wants of a connection.
type request struct {
	service string
	bundled bool
	join    bool
	token   token // to join; with bundled: the server's answer
}

func (r *request) bytes() []byte {
	if r.join {
		return append([]byte{joinByte}, r.token[:]...)
	}
	head := byte(len(r.service))
	if r.bundled {
		head |= bundleBit
	}
	return append([]byte{head}, r.service...)
}

// readRequest reads what a client wants. A name may have 1 to MaxService bytes.
func readRequest(r io.Reader) (req request, err error) {
	var b [MaxService]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return req, err
	}
	if b[0] == joinByte {
		req.join = true
		_, err = io.ReadFull(r, req.token[:])
		return req, err
	}
	req.bundled = b[0]&bundleBit != 0
	n := int(b[0] &^ bundleBit)
	if n < 1 || n > MaxService {
		return req, fmt.Errorf("a service's name of %d bytes", n)
	}
	_, err = io.ReadFull(r, b[:n])
	req.service = string(b[:n])
	return req, err
}

// clientBundle is a client's end of a bundle.
type clientBundle struct {
	*bundle.Stream
	c     *Client
	to    ring.NodeID
	token token
	ran   sync.WaitGroup

	mu   sync.Mutex
	used []Route // by legs that run
}

// bundle makes a bundle of its first connection.
func (c *Client) bundle(first idleConn, way Route, to ring.NodeID, t token) idleConn {
	b := &clientBundle{Stream: bundle.New(bundleConfig(c.pacer), first.Conn), c: c, to: to, token: t}
	b.run(first, way)
	b.ran.Go(b.keep)
	return idleConn{Conn: b, raw: closer(func() { b.Abort(net.ErrClosed) }), alive: b.Alive}
}

type closer func()

func (f closer) Close() error {
	f()
	return nil
}

// Close waits until the server has everything, and then for all that runs.
func (b *clientBundle) Close() error {
	err := b.Stream.Close()
	b.ran.Wait()
	return err
}

func (b *clientBundle) run(conn idleConn, way Route) {
	b.mu.Lock()
	b.used = append(b.used, way)
	b.mu.Unlock()
	b.ran.Go(func() {
		_ = b.Carry(conn.Conn, conn.raw) // the stream goes on, or says itself why not
		b.mu.Lock()
		defer b.mu.Unlock()
		for i, u := range b.used {
			if u == way {
				b.used = append(b.used[:i], b.used[i+1:]...)
				break
			}
		}
	})
}

// keep has links join when the stream wants them. It ends with the stream.
func (b *clientBundle) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ran.Go(func() {
		select {
		case <-b.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	pause := rejoin
	var again <-chan time.Time
	for {
		select {
		case <-b.Done():
			return
		case <-b.Want():
			pause = rejoin
		case <-again:
		}
		again = nil
		if err := b.grow(ctx); err != nil {
			if all, _ := b.Legs(); all == 0 || errors.Is(err, ErrUnknownService) {
				b.Abort(err)
				return
			}
			again = time.After(pause)
			pause = min(2*pause, rejoinMax)
		}
	}
}

// grow has all ways join that share no link with one that works. The error says
// why one did not.
func (b *clientBundle) grow(ctx context.Context) error {
	ways, _, err := b.c.order(b.to)
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range ways {
		if !b.fresh(w) {
			continue
		}
		ask := request{join: true, token: b.token}
		conn, err := b.c.try(ctx, w, dialTimeout/2, b.to, &ask)
		if err != nil {
			if ctx.Err() == nil {
				b.c.note(b.to, w, false)
			}
			errs = append(errs, fmt.Errorf("bulk: %s: %w", w.Remote, err))
			continue
		}
		b.c.note(b.to, w, true)
		b.run(conn, w)
	}
	if all, _ := b.Legs(); all == 0 && len(errs) == 0 {
		errs = append(errs, bundle.ErrNoLeg)
	}
	return errors.Join(errs...)
}

// fresh reports whether a way shares no link with those in use.
func (b *clientBundle) fresh(w Route) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.used {
		if !w.apart(u) {
			return false
		}
	}
	return true
}
