package bulk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rain/ring"
)

const (
	dialTimeout = 2 * time.Second // for all addresses of a peer together
	// badFor is how long an address that failed is asked last.
	badFor   = 5 * time.Second
	sessions = 256
)

// Client makes connections to other nodes' services. All methods may be called
// from any goroutine.
type Client struct {
	me     ring.NodeID
	proof  proofs
	gate   Gate
	local  []netip.AddrPort // this node's links, if known
	routes func(ring.NodeID) []Route
	onThin func(ring.NodeID, Route)
	pacer  *Pacer

	mu     sync.Mutex
	closed bool
	peers  map[ring.NodeID]*peer
}

// peer is what the client knows of a node.
type peer struct {
	addrs []netip.AddrPort
	turn  int                   // of the address to ask first
	bad   map[Route]time.Time   // when it failed
	thin  map[Route]time.Time   // when it carried short packets only
	idle  map[string][]idleConn // by service, the one used last at the end
}

// NewClient returns a client for this node. The caller closes it.
func NewClient(key []byte, id ring.NodeID) (*Client, error) {
	c := &Client{me: id, peers: map[ring.NodeID]*peer{}}
	return c, c.SetKeys(key)
}

// SetGate makes the client obey cuts that were made on purpose. Call it before
// the first Dial or Call.
func (c *Client) SetGate(g Gate) { c.gate = g }

// SetPacer has what the client sends held back when the token is late. Call it
// before the first Dial or Call.
func (c *Client) SetPacer(p *Pacer) { c.pacer = p }

// SetPeer says where a node's links listen. Connections that exist stay; no
// address at all forgets the node and closes its idle ones.
func (c *Client) SetPeer(id ring.NodeID, addrs []netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[id]
	switch {
	case len(addrs) == 0 && p != nil:
		p.drop()
		delete(c.peers, id)
	case len(addrs) == 0:
	case p == nil:
		c.peers[id] = &peer{addrs: slices.Clone(addrs), bad: map[Route]time.Time{}, thin: map[Route]time.Time{}, idle: map[string][]idleConn{}}
	default:
		p.addrs = slices.Clone(addrs)
		clear(p.bad)
	}
}

// Dial makes a connection to a service of a node. It asks the node's addresses
// in turn, so that all links carry load, those that failed a moment ago last.
// Each gets its share of the time: two seconds, or what ctx leaves. The caller
// closes the connection. Errors to tell apart: ErrUnknownPeer, ErrUnknownService,
// ErrBusy, ErrNotProven, ErrOtherNode.
func (c *Client) Dial(ctx context.Context, to ring.NodeID, service string) (net.Conn, error) {
	conn, err := c.dial(ctx, to, service)
	if err != nil {
		return nil, err
	}
	return conn.Conn, nil
}

func (c *Client) dial(ctx context.Context, to ring.NodeID, service string) (idleConn, error) {
	fail := func(err error) (idleConn, error) {
		return idleConn{}, fmt.Errorf("bulk: service %q of node %s: %w", service, to, err)
	}
	if !validService(service) {
		return fail(fmt.Errorf("a name has 1 to %d bytes", MaxService))
	}
	ways, bundled, err := c.order(to)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	end, _ := ctx.Deadline()
	var errs []error
	for i, a := range ways {
		share := time.Until(end) / time.Duration(len(ways)-i)
		ask := request{service: service, bundled: bundled}
		conn, err := c.try(ctx, a, share, to, &ask)
		if err == nil && bundled {
			c.note(to, a, true)
			return c.bundle(conn, a, to, ask.token), nil
		}
		if err == nil {
			c.note(to, a, true)
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", a.Remote, err))
		if errors.Is(err, ErrUnknownService) || errors.Is(err, ErrBusy) {
			break // it would say the same elsewhere
		}
		if ctx.Err() != nil {
			break
		}
		c.note(to, a, false)
	}
	return fail(errors.Join(errs...))
}

func (c *Client) note(to ring.NodeID, a Route, good bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[to]
	switch {
	case p == nil:
	case good:
		delete(p.bad, a)
	case slices.Contains(p.addrs, a.Remote):
		p.bad[a] = time.Now()
	}
}

// connect makes a connection on one way, with short packets or as the system
// likes. reached: it came about, whatever failed then.
func (c *Client) connect(ctx context.Context, a Route, short bool, to ring.NodeID, ask *request) (conn idleConn, reached bool, err error) {
	if err := passable(ctx, c.gate, to, a.Remote); err != nil {
		return idleConn{}, false, err
	}
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	if short {
		d.Control = shorten
	}
	if a.Local.IsValid() && !a.Local.IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Local, 0))
	}
	raw, err := d.DialContext(ctx, "tcp", a.Remote.String())
	if err != nil {
		return idleConn{}, false, err
	}
	raw = newGated(raw, c.gate, to, a.Remote)
	below, proof := newRecords(raw), c.proof.Load()
	sealed := &sealedConn{Conn: tls.Client(below, proof.id.client(to, proof.sessions)), below: below}
	if err := greet(ctx, sealed, ask); err != nil {
		raw.Close()
		var alert tls.AlertError
		if errors.As(err, &alert) { // its words would only confuse
			return idleConn{}, true, fmt.Errorf("refused: %w", ErrNotProven)
		}
		return idleConn{}, true, err
	}
	if !ask.bundled && !ask.join {
		below.pacer = c.pacer
	}
	return idleConn{Conn: sealed, raw: raw, alive: func() bool { return alive(raw) }}, true, nil
}

// greet does the handshake and asks for the service. Only the answer shows
// whether the server took our certificate.
func greet(ctx context.Context, conn *sealedConn, ask *request) error {
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	stop := interruptible(ctx, conn)
	_, err := conn.Write(ask.bytes())
	var reply [1]byte
	if err == nil {
		_, err = io.ReadFull(conn, reply[:])
	}
	if err == nil && reply[0] == replyGo && ask.bundled {
		_, err = io.ReadFull(conn, ask.token[:])
	}
	if !stop() {
		return context.Cause(ctx)
	}
	switch {
	case err != nil:
		return err
	case reply[0] == replyUnknown:
		return ErrUnknownService
	case reply[0] == replyBusy:
		return ErrBusy
	case reply[0] != replyGo:
		return fmt.Errorf("it replies %d, which this version does not know", reply[0])
	}
	return nil
}

// interruptible makes reads and writes fail once ctx is done. stop ends that; it
// returns false if ctx was done, and then the connection is of no use any more.
func interruptible(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
