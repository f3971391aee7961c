// Package bulk carries what is too big for the token between nodes: symbols,
// snapshots, bodies. It is TCP with TLS 1.3; a connection belongs to one service
// of the server, which is named when it begins.
//
// Guarantees. Both ends prove that they know the cluster key before a byte of a
// service is exchanged, and a handler learns the peer's id from that proof: each
// process has a certificate with its id, signed by a key that is derived from
// the cluster key and that nobody else has. Who has the cluster key can be any
// node. Certificates hold from 1970 to 2200 and are verified at a fixed date: a
// clock that jumps locks nobody out. Redials resume the session of before.
// Incarnations are not proven here: what depends on them must say so itself.
//
// Limits. A stranger can hold no more than MaxHandshakes connections, and
// MaxPerHost from one address, for HandshakeTimeout each. He learns from a
// failure no more than that his certificate was refused. Nothing here limits how
// long an authenticated peer is silent: handlers set deadlines of their own
// where it matters; TCP keep-alive finds hosts that are gone.
//
// The key can be changed while connections live (SetKeys): the client's server name
// tells which key it has. A stranger with an invitation gets one request answered
// at the door (Config.Door, Knock), under ALPN "rain-join/1".
//
// Where a node has several links a connection is a bundle of one for each, chunk
// by chunk on whichever has room: they carry load together, and one that dies
// fails no transfer. See rain/ring/host/bulk/bundle.
//
// After the handshake (ALPN "rain-bulk/1"), from the client: length u8 (1 to 64)
// and the service's name; from the server one byte: 0 go ahead, 1 no such
// service, 2 too many connections. Then the connection is the service's. With
// 128 added to the length it begins a bundle, whose token of 16 bytes follows
// the 0; length 255 and a token join that bundle.
package bulk

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"rain/ring"
)

const (
	alpn = "rain-bulk/1"
	// MaxService is how many bytes the name of a service may have.
	MaxService = 64
	// KeySize is the least size of a cluster key in bytes.
	KeySize = 32
)

// What the server says to the name of a service.
const (
	replyGo      = 0
	replyUnknown = 1
	replyBusy    = 2
)

var (
	// ErrUnknownService says that the peer has no such service: it may run
	// another version of the program, or be about to start.
	ErrUnknownService = errors.New("the peer has no such service")
	// ErrBusy says that the peer has as many connections as it may have.
	ErrBusy = errors.New("the peer has too many connections; try again later")
	// ErrNotProven says that one end did not prove the cluster key to the other.
	ErrNotProven = errors.New("the cluster key was not proven; compare the key files of both nodes")
	// ErrOtherNode says that another node than the one that was meant answered.
	ErrOtherNode = errors.New("another node answers there; compare ids and addresses in the node files")
	// ErrUnknownPeer says that no address is known for a node.
	ErrUnknownPeer = errors.New("no address is known for that node")
	// ErrClosed says that the client was closed.
	ErrClosed = errors.New("the bulk client is closed")
)

// Config is what a server needs.
type Config struct {
	// Key is the cluster key, 32 bytes or more.
	Key []byte
	// OldKeys are accepted, too, while the key is being changed.
	OldKeys [][]byte
	// ID is this node.
	ID ring.NodeID
	// Listen are the addresses of this node's links. Port 0 takes a free one.
	Listen []netip.AddrPort
	// MaxConns bounds the connections of proven peers. Default 1024. Each costs
	// a goroutine and about 40 KiB.
	MaxConns int
	// MaxHandshakes bounds the connections that have not proven the key yet.
	// Default 256. More are closed at once.
	MaxHandshakes int
	// MaxPerHost bounds those of one address. Default 64: the nodes of a demo
	// share one.
	MaxPerHost int
	// HandshakeTimeout bounds how long a connection may take to prove the key
	// and name its service. Default 2s.
	HandshakeTimeout time.Duration
	// Door, if not nil, answers strangers that have an invitation.
	Door Door
	// Gate, if not nil, cuts links on purpose.
	Gate Gate
	// Pacer, if not nil, holds back what is sent when the token is late.
	Pacer *Pacer
}

// DefaultConfig is a Config but for Key, ID and Listen.
func DefaultConfig() Config {
	return Config{MaxConns: 1024, MaxHandshakes: 256, MaxPerHost: 64, HandshakeTimeout: 2 * time.Second}
}

// Validate reports all that is wrong with the config.
func (c *Config) Validate() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf("bulk: "+format, args...))
		}
	}
	bad(len(c.Key) < KeySize, "the cluster key has %d bytes, at least %d are needed; make one with rainctl key new", len(c.Key), KeySize)
	bad(c.ID == 0, "no node id")
	bad(len(c.Listen) == 0, "no address to listen at")
	bad(c.MaxConns < 1, "MaxConns is %d, at least 1 is needed", c.MaxConns)
	bad(c.MaxHandshakes < 1, "MaxHandshakes is %d, at least 1 is needed", c.MaxHandshakes)
	bad(c.MaxPerHost < 1, "MaxPerHost is %d, at least 1 is needed", c.MaxPerHost)
	bad(c.HandshakeTimeout <= 0, "HandshakeTimeout is %v, it must be above 0", c.HandshakeTimeout)
	return errors.Join(errs...)
}

func validService(name string) bool { return len(name) >= 1 && len(name) <= MaxService }
