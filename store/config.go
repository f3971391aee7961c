package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// Config is what an operator may set.
type Config struct {
	// Dir is the folder of the bodies; it is made if it is not there.
	Dir string
	// ReserveBytes is the free space below which this node takes no bodies, so
	// that the ring's log and the system go on. Default 256 MiB.
	ReserveBytes int64
	// MaxObject is the largest body in bytes. Default 5 GiB.
	MaxObject int64
	// CacheBytes bounds the memory for bodies of at most 64 KiB. Default 128 MiB.
	CacheBytes int64
	// WindowBytes bounds the memory for decoded parts of larger bodies. Default
	// 64 MiB.
	WindowBytes int64
	// DecodedBytes bounds the disk for larger bodies that are opened again and
	// again: they are kept decoded in a file of their own, for sendfile. A body
	// larger than a quarter of it is not. Default 1 GiB.
	DecodedBytes int64
	// Code is the code of new objects over 64 KiB in buckets without one of
	// their own; the zero Code: by the number of storage nodes.
	Code Code
	// PeerStall is how long a put that has a quorum waits for the other members
	// before it leaves them out, to be repaired later; and how long a read waits
	// for one member before it asks the next. Without a quorum a put has five
	// times the patience. Default 2 s.
	PeerStall time.Duration
	// ProposeTimeout bounds the time of an op on the token. Default 10 s.
	ProposeTimeout time.Duration
	// OrphanGrace is how long a body stays that no object refers to; at least
	// a minute, as a put takes a body for granted that it has just found.
	// Default 1 h; a minute while space is short. What an op has deleted or
	// replaced goes after two seconds while all nodes are in the view, unless one
	// has it open.
	OrphanGrace time.Duration
	// RebuildAfter is how long a storage node may be away before its columns are
	// made anew on storage nodes that have none of the object. Default 1 h.
	RebuildAfter time.Duration
	// RepairBytesPerSecond bounds the background fetching. Default 128 MiB/s.
	RepairBytesPerSecond int64
	// ScrubBytesPerSecond bounds the reading that looks for bad copies; 0: none.
	// Default 8 MiB/s.
	ScrubBytesPerSecond int64
}

// MaxColumns is the largest N of a code.
const MaxColumns = catalog.MaxColumns

// Code is a code of N columns, any K of which give an object back.
type Code struct{ N, K int }

// String is "n,k", or "auto" for the zero Code.
func (c Code) String() string {
	if c == (Code{}) {
		return "auto"
	}
	return fmt.Sprintf("%d,%d", c.N, c.K)
}

// DefaultConfig returns the defaults; Dir is to be set.
func DefaultConfig() Config {
	return Config{
		ReserveBytes:         256 << 20,
		MaxObject:            5 << 30,
		CacheBytes:           128 << 20,
		WindowBytes:          64 << 20,
		DecodedBytes:         1 << 30,
		PeerStall:            2 * time.Second,
		ProposeTimeout:       10 * time.Second,
		OrphanGrace:          time.Hour,
		RebuildAfter:         time.Hour,
		RepairBytesPerSecond: 128 << 20,
		ScrubBytesPerSecond:  8 << 20,
	}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("store: config: "+format, args...))
		}
	}
	fault(c.Dir == "", "the folder is not set")
	fault(c.ReserveBytes < 0, "reserve_bytes is %d; 0 or more is allowed", c.ReserveBytes)
	fault(c.MaxObject < 1 || c.MaxObject > 1<<50, "the largest object is %d bytes; 1 to 2^50 are allowed", c.MaxObject)
	fault(c.CacheBytes < 0, "the cache is %d bytes; 0 or more are allowed", c.CacheBytes)
	fault(c.WindowBytes < 0, "the windows have %d bytes; 0 or more are allowed", c.WindowBytes)
	fault(c.DecodedBytes < 0, "the decoded files have %d bytes; 0 or more are allowed", c.DecodedBytes)
	if err := checkCode(c.Code.N, c.Code.K); err != nil {
		errs = append(errs, fmt.Errorf("store: config: %w", err))
	}
	fault(c.PeerStall < 10*time.Millisecond, "the stall time is %v; at least 10ms is allowed", c.PeerStall)
	fault(c.ProposeTimeout < 10*time.Millisecond, "the propose time-out is %v; at least 10ms is allowed", c.ProposeTimeout)
	fault(c.OrphanGrace < shortGrace, "the grace of orphans is %v; at least %v is allowed", c.OrphanGrace, shortGrace)
	fault(c.RebuildAfter < time.Second, "rebuild_after is %v; at least 1s is allowed", c.RebuildAfter)
	fault(c.RepairBytesPerSecond < 1<<16, "the repair rate is %d bytes a second; at least 65536 is allowed", c.RepairBytesPerSecond)
	fault(c.ScrubBytesPerSecond < 0, "the scrub rate is %d bytes a second; 0 or more is allowed", c.ScrubBytesPerSecond)
	return errors.Join(errs...)
}

// Ring is what the store needs of the ring.
type Ring interface {
	// Propose carries an op of the store's rider and returns its result when a
	// quorum has it on disk and every member of the view has applied it.
	Propose(ctx context.Context, op []byte) ([]byte, error)
	// Members are the ids of the newest view. The slice is not changed later.
	Members() []ring.NodeID
	Self() ring.NodeID
	// Storage are the ids of the layout's storage nodes, up or down.
	Storage() []ring.NodeID
	// Known are all nodes of the cluster, up or down, storage nodes or not.
	Known() []ring.NodeID
	// Ready is nil while this node is in the primary component; else it says
	// why it is not.
	Ready() error
}

// Peers calls services of other nodes.
type Peers interface {
	// Call runs f on a connection to the peer's service. If f returns nil the
	// connection may be kept and handed to a later Call of the service.
	Call(ctx context.Context, peer ring.NodeID, service string, f func(net.Conn) error) error
}

// Services takes the handlers of the store's own services. The handler serves
// one request after the other until the connection ends or ctx is done.
type Services interface {
	Handle(service string, h func(ctx context.Context, peer ring.NodeID, conn net.Conn))
}

// Deps are the things that a Store is built upon.
type Deps struct {
	Ring     Ring
	Peers    Peers
	Services Services
}
