package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"rain/ring"
)

// Link is one local interface of the ring: UDP for messages, TCP for bulk.
type Link struct {
	Name   string
	Listen netip.AddrPort
}

// Peer is another node that is known beforehand.
type Peer struct {
	ID    ring.NodeID
	Name  string
	Links []netip.AddrPort
}

// Config is what a node's shell must know.
type Config struct {
	ID       ring.NodeID
	Name     string
	Data     string // data folder of the ring
	Key      []byte // the cluster key, 32 bytes
	Founders []ring.NodeID
	Links    []Link
	Peers    []Peer
	// Met are nodes that this one shared a cluster with. If there are any, the
	// cluster was founded: with an empty disk this node joins and never founds.
	Met    []ring.NodeID
	Timing ring.Timing
	// RowVersion reads the wire version that a member speaks from its row; nil: all
	// speak the newest. Who has no row yet gets the oldest.
	RowVersion func(row []byte) int
	// OnRotation, if not nil, is told how long the token took to come back, each time
	// it is passed on. It is called within the turn and must not block.
	OnRotation func(took time.Duration)
	// Aggressive detection leaves out who does not answer one member.
	Aggressive bool
	Policy     ring.Policy
	// Witness asks the witness of policy witness; nil: there is none.
	Witness func(ctx context.Context, q ring.WitnessAsk) (ring.NodeID, error)
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.ID == 0 {
		errs = append(errs, errors.New("host: node id is missing"))
	}
	if len(c.Key) != 32 {
		errs = append(errs, fmt.Errorf("host: the cluster key has %d bytes, must have 32; make one with 'rainctl key new FILE'", len(c.Key)))
	}
	if c.Data == "" {
		errs = append(errs, errors.New("host: no data folder"))
	}
	if len(c.Links) == 0 {
		errs = append(errs, errors.New("host: no [[link]]: the ring needs an address to listen at"))
	}
	return errors.Join(append(errs, c.Timing.Validate())...)
}
