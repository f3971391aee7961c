package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"rain/ring"
	"rain/ring/host/seal"
	"rain/ring/link"
	"rain/ring/rudp"
)

// Link is one local end.
type Link struct {
	Name   string
	Listen netip.AddrPort
}

// Config is what a Transport is told at its start.
type Config struct {
	Links []Link
	// Key is the cluster key, seal.KeySize bytes. OldKeys open what others
	// still seal with them while a key is being changed.
	Key     []byte
	OldKeys [][]byte
	// SendTimeout is after how much silence a message has failed. Default 30ms;
	// it is the ring's failure detector: lower finds deaths sooner and mistakes
	// more pauses for deaths.
	SendTimeout time.Duration
	// PingEvery is how often a silent peer gets a hello. Default 200ms.
	PingEvery time.Duration
	// Link is how paths are watched. Its Every and DownAfter are the least; with
	// many paths both grow, so that not more than PingBudget pings a second leave
	// this node (some more while paths change). Default 150; less costs less and
	// learns later that an idle path is dead.
	Link       link.Config
	PingBudget int
	// Relays is how many neighbours stand by for each peer, 0 to MaxRelays.
	// Default 2; 0: nothing is relayed, by this node neither.
	Relays int
	// Payload is how many bytes of a message one datagram carries. With the default
	// no datagram is longer than SafeDatagram, relayed ones neither: a longer one
	// may vanish in a switch or tunnel that is set to less than the links of this
	// node, while short pings pass.
	Payload int
	// OnOutdated, if not nil, is called (by a goroutine of Run, possibly more
	// than once) when others know a higher incarnation of this node than its
	// own: it must take one above that and call SetMe.
	OnOutdated func(known ring.Incarnation)
}

// DefaultConfig is for a LAN; links and key are missing.
func DefaultConfig() Config {
	r := rudp.DefaultConfig()
	return Config{
		SendTimeout: r.SendTimeout, PingEvery: r.PingEvery, Payload: payloadFor(SafeDatagram),
		Link: link.DefaultConfig(), PingBudget: 150, Relays: MaxRelays,
	}
}

// payloadFor is how much of a message fits a datagram of this size, relayed.
func payloadFor(datagram int) int {
	return datagram - 2*seal.Overhead - relayMin - rudp.Overhead
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var errs []error
	if len(c.Links) < 1 || len(c.Links) > rudp.MaxLinks {
		errs = append(errs, fmt.Errorf("transport: %d links; name 1 to %d with [[link]]", len(c.Links), rudp.MaxLinks))
	}
	names := map[string]bool{}
	for _, l := range c.Links {
		if l.Name == "" || names[l.Name] {
			errs = append(errs, fmt.Errorf("transport: link %q: each link needs a name of its own", l.Name))
		}
		names[l.Name] = true
		if !l.Listen.IsValid() {
			errs = append(errs, fmt.Errorf("transport: link %q has no listen address", l.Name))
		}
	}
	if len(c.Key) != seal.KeySize {
		errs = append(errs, fmt.Errorf("transport: the cluster key has %d bytes, want %d", len(c.Key), seal.KeySize))
	}
	if most := payloadFor(MaxDatagram); c.Payload > most {
		errs = append(errs, fmt.Errorf("transport: payload of %d bytes; at most %d fit a datagram", c.Payload, most))
	}
	if c.PingEvery < time.Millisecond {
		errs = append(errs, fmt.Errorf("transport: ping every %v; want at least 1ms", c.PingEvery))
	}
	if c.PingBudget < 1 {
		errs = append(errs, fmt.Errorf("transport: a budget of %d pings a second; want at least 1", c.PingBudget))
	}
	if c.Relays < 0 || c.Relays > MaxRelays {
		errs = append(errs, fmt.Errorf("transport: %d relays; want 0 to %d", c.Relays, MaxRelays))
	}
	return errors.Join(append(errs, c.conn(1).Validate(), c.Link.Validate())...)
}

// conn is the config of the connection to a peer with so many paths.
func (c Config) conn(paths int) rudp.Config {
	r := rudp.DefaultConfig()
	r.Links, r.SendTimeout, r.PingEvery, r.Payload = paths, c.SendTimeout, 0, c.Payload
	r.MinRTO = min(r.MinRTO, c.SendTimeout/4)
	r.InitialRTO = max(r.MinRTO, min(r.InitialRTO, c.SendTimeout/3))
	return r
}
