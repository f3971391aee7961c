package ring

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// NodeID is the host-cluster id: 16 bits of cluster, 16 bits of host, written
// C.C.H.H in dotted octets. Zero is no node.
type NodeID uint32

// ErrNodeID says that a text is not a node id.
var ErrNodeID = errors.New(`a node id is four numbers from 0 to 255 with dots, "C.C.H.H" (cluster, host), and not 0.0.0.0`)

// ParseNodeID reads the form C.C.H.H.
func ParseNodeID(s string) (NodeID, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return 0, fmt.Errorf("ring: %q: %w", s, ErrNodeID)
	}
	var id NodeID
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return 0, fmt.Errorf("ring: %q: %w", s, ErrNodeID)
		}
		id = id<<8 | NodeID(n)
	}
	if id == 0 {
		return 0, fmt.Errorf("ring: %q: %w", s, ErrNodeID)
	}
	return id, nil
}

func (id NodeID) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// Incarnation tells two lives of one node apart: a new one for each start and
// each rejoin, never reused, always rising.
type Incarnation uint64

// Member is one life of one node. What an older incarnation granted or
// acknowledged never counts for a newer one.
type Member struct {
	ID  NodeID
	Inc Incarnation
}

func (m Member) String() string { return fmt.Sprintf("%s/%d", m.ID, m.Inc) }

// IsZero reports whether m is no member.
func (m Member) IsZero() bool { return m == Member{} }

// Less orders members by id, then incarnation.
func (m Member) Less(o Member) bool {
	return m.ID < o.ID || m.ID == o.ID && m.Inc < o.Inc
}

// Epoch is generation (high 32 bits, counts cold starts) and regeneration
// (low 32 bits, counts 911s that made a token).
type Epoch uint64

// MakeEpoch joins the two halves.
func MakeEpoch(generation, regeneration uint32) Epoch {
	return Epoch(generation)<<32 | Epoch(regeneration)
}

// Generation is the number of cold starts before this epoch.
func (e Epoch) Generation() uint32 { return uint32(e >> 32) }

func (e Epoch) String() string { return fmt.Sprintf("%d.%d", uint32(e>>32), uint32(e)) }

// Stamp orders tokens and copies: by epoch, then by hops in it.
type Stamp struct {
	Epoch Epoch
	Seq   uint64
}

// Less reports whether s is older than o.
func (s Stamp) Less(o Stamp) bool {
	return s.Epoch < o.Epoch || s.Epoch == o.Epoch && s.Seq < o.Seq
}

func (s Stamp) String() string { return fmt.Sprintf("(%s,%d)", s.Epoch, s.Seq) }

// Instant is nanoseconds since an origin private to this host (its boot
// clock). Only differences mean anything, and only on this host.
type Instant int64

// Add returns t+d.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

// Sub returns t-o.
func (t Instant) Sub(o Instant) time.Duration { return time.Duration(t - o) }

// RiderID names a replicated state machine on the token. 0 is the ring's own:
// view changes.
type RiderID uint8

// The riders of this system. The numbers are part of the wire format.
const (
	RiderViews    RiderID = 0
	RiderSettings RiderID = 1
	RiderVIP      RiderID = 2
	RiderCatalog  RiderID = 3
	RiderQueue    RiderID = 4
	RiderStreams  RiderID = 5
	RiderRoster   RiderID = 6
)
