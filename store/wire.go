package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"

	"rain/store/catalog"
)

// Services of the bulk path.
const (
	servicePut  = "store.put"
	serviceGet  = "store.get"
	serviceLack = "store.lack"
)

const (
	wireVersion = 1

	kindSmall  = 1
	kindGet    = 3
	kindLack   = 4
	kindColumn = 5
	kindUnits  = 6

	requestLen  = 2 + 32 + 8
	unknownSize = math.MaxUint64

	// smallBody is the largest body that is held in memory and goes to a
	// member in one message.
	smallBody = 64 << 10
	// streamFrom is how much of a body must be here before it is sent on while
	// the rest is still coming. Smaller ones are hashed first, so that members
	// that have them need not get them again.
	streamFrom = 1 << 20
	chunkSize  = 256 << 10
	maxLacks   = 4096
	maxUnits   = 1024 // in one request; a window never has more
	// patience is how many stall times a member may make no progress with a put
	// before its connection is given up: its disk may be busy.
	patience = 5
	// streamIdle is how long a member waits for more of a stream: the client
	// may be slow. Who serves the client bounds that.
	streamIdle = 2 * time.Minute
)

type status uint8

const (
	statusStored  status = 1
	statusHave    status = 2
	statusGo      status = 3
	statusNoSpace status = 4
	statusBadHash status = 5
	statusFailed  status = 6
	statusAbsent  status = 7
)

var errWire = errors.New("malformed message, or another version of the program")

// statusError is a member's refusal.
type statusError status

func (e statusError) Error() string {
	switch status(e) {
	case statusNoSpace:
		return "the member has no space left for content"
	case statusBadHash:
		return "the member got other bytes than the hash says"
	case statusFailed:
		return "the member could not write the body; see its log"
	case statusAbsent:
		return "the member does not have the body"
	}
	return fmt.Sprintf("unexpected status %d", uint8(e))
}

// refused tells what a member answered from a fault on the way to it.
func refused(err error) bool {
	var s statusError
	return errors.As(err, &s)
}

// request is the head of every request.
type request struct {
	kind byte
	sum  catalog.Sum
	size uint64 // unknownSize: not known yet
}

func (r request) append(b []byte) []byte {
	b = append(b, wireVersion, r.kind)
	b = append(b, r.sum[:]...)
	return binary.BigEndian.AppendUint64(b, r.size)
}

// parseRequest reads a head of requestLen bytes. What it accepts, append writes
// back byte for byte.
func parseRequest(b []byte) (request, error) {
	if len(b) != requestLen || b[0] != wireVersion {
		return request{}, fmt.Errorf("store: request: %w", errWire)
	}
	r := request{kind: b[1], size: binary.BigEndian.Uint64(b[34:])}
	copy(r.sum[:], b[2:34])
	switch {
	case r.kind < kindSmall || r.kind > kindUnits || r.kind == 2,
		r.kind == kindSmall && r.size > smallBody,
		r.kind == kindColumn && r.size != unknownSize && r.size > math.MaxInt64,
		r.kind == kindUnits && (uint32(r.size) == 0 || uint32(r.size) > maxUnits):
		return request{}, fmt.Errorf("store: request of kind %d, size %d: %w", r.kind, r.size, errWire)
	}
	return r, nil
}

// stallConn fails when the other end makes no progress for a while, or when ctx
// is done.
type stallConn struct {
	net.Conn
	ctx   context.Context
	stall time.Duration
	until *atomic.Int64 // the deadline that was set last, Unix nanoseconds
}

// guardConn returns conn with a limit on stalls, and what takes the limit away
// again so that the connection can be kept.
func guardConn(ctx context.Context, conn net.Conn, stall time.Duration) (*stallConn, func()) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &stallConn{Conn: conn, ctx: ctx, stall: stall, until: new(atomic.Int64)}, func() {
		if stop() {
			_ = conn.SetDeadline(time.Time{})
		}
	}
}

// allow sets the time for the next step. If ctx ends after the check, its
// AfterFunc overrides the deadline. One that is at most an eighth too near or too
// far stays: setting it for each record of a stream costs more than the checksums.
func (c *stallConn) allow(d time.Duration) error {
	until := time.Now().Add(d)
	if by := time.Duration(until.UnixNano() - c.until.Load()); by > d/8 || by < -d/8 {
		if err := c.SetDeadline(until); err != nil {
			return err
		}
		c.until.Store(until.UnixNano())
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return nil
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.allow(c.stall); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.allow(c.stall); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// within is c with another limit on stalls.
func (c *stallConn) within(d time.Duration) *stallConn { return &stallConn{c.Conn, c.ctx, d, c.until} }

// readStatus waits d for the member's word.
func (c *stallConn) readStatus(d time.Duration) (status, error) {
	if err := c.allow(d); err != nil {
		return 0, err
	}
	var b [1]byte
	if _, err := io.ReadFull(c.Conn, b[:]); err != nil {
		return 0, err
	}
	return status(b[0]), nil
}

// syncTime is how long a member may take to get size bytes to its disk. A busy
// disk may stall for seconds; a put that has a quorum does not wait for it.
func syncTime(stall time.Duration, size int64) time.Duration {
	return patience*stall + time.Duration(size/(16<<20))*time.Second
}
