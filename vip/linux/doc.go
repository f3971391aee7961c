// Package linux holds virtual IPs on network interfaces: IPv4 announced by ARP,
// IPv6 by neighbour advertisements. It is the driver for real machines.
//
// Holding an address means that it is on its interface and a socket listens on
// it. A guard process (package guard) does both, looks at the lease before it
// does, and undoes both when the lease ends, whatever has become of the node; if
// the guard is frozen as well, the kernel forgets the address by itself
// (guard.Validity). Nothing on the way of a fail-over starts a process or opens
// a socket for packets: those are opened at the start.
//
// How an address is put on: with the length of its network only if the
// interface has no address of its own in that network, else alone (/32, /128),
// so that taking it off takes no route and no other address with it; preferred
// for 0 s, so that it is no source of the machine's own connections; IPv6 without
// duplicate address detection.
//
// An address may have several interfaces, in one segment. It is on one of them: the
// first that works. When that one goes down or loses its carrier, the address goes
// to the next at once, on the same node: connections go on, and no other node is
// asked. It does not go back by itself.
//
// Announcements: to all stations, as ARP request and as ARP reply (some listen to
// one, some to the other), or as unsolicited neighbour advertisement with the
// override flag; at 0, 10, 30 and then every 100 ms for 2 s, and every 10 s. Whoever
// else claims an address that is held here is answered by new announcements, at
// most ten times a second, and is reported.
//
// Planned hand-over: the successor listens beforehand (the address need not be
// there for that). The old holder's server brings its connections to their end, see
// Config.Leave, while new ones are taken as before. Then it stops taking new ones
// without refusing them, lets what runs end for Config.Quiet, and lets go.
// What knocks meanwhile is kept, at most MaxKnocks of it, and sent to the successor
// as soon as that announces itself. So no connection is refused and none waits for
// its SYN's second try. Limit: what is not at its end by then (a long download) is
// broken: the client gets a reset by the new holder.
//
// After a crash the clients' connections are reset by the new holder at their
// next packet.
//
// Needs Linux, CAP_NET_ADMIN and CAP_NET_RAW; elsewhere New says ErrUnsupported.
//
// Limits: Ethernet, or what looks like it (veth, bond, VLAN, bridge); one network
// namespace; a switch that lets a MAC address claim an IP address (no dynamic ARP
// inspection, no address filter of a hypervisor).
//
// Sources: RFC 826, RFC 5227 (announcements), RFC 4861 section 7.2.6.
package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ErrUnsupported says that this system cannot do it.
var ErrUnsupported = errors.New(`vip linux: this driver needs Linux (addresses with a lifetime, and a guard that takes them off for a frozen node); set [vip] driver = "none" and use the nodes' own addresses`)

// ErrClosed says that the driver was closed.
var ErrClosed = errors.New("vip linux: the driver is closed")

// ErrCapability says what the process may not do.
var ErrCapability = errors.New(`vip linux: this process may not change addresses and send ARP: it needs CAP_NET_ADMIN and CAP_NET_RAW. Run it as root, or put into the [Service] section of its systemd unit: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE`)

// MaxKnocks bounds the connection attempts that are kept while an address is
// handed over. Those beyond try again by themselves a second later.
const MaxKnocks = 4096

// Config is what the driver is told at its start.
type Config struct {
	// Port on which every virtual IP listens.
	Port uint16
	// Interfaces of this node by address, as its own file says it: a name, or
	// several with commas between them. For other addresses the cluster's table
	// does.
	Interfaces map[netip.Addr]string
	// Quiet is for how long a planned hand-over lets running requests end before
	// it breaks them. Default 1s; new connections wait for it, so it costs more
	// latency the higher it is, and below the longest request it costs requests.
	Quiet time.Duration
	// Leave has the server of an address end its connections, as it goes: each
	// answer says so, and where no request begins within that time the connection is
	// closed. Stay undoes it. nil: connections that idle are open when the address
	// goes, and their next request is reset.
	Leave func(addr netip.Addr, within time.Duration)
	Stay  func(addr netip.Addr)
	// Exe and Args run a program that calls guard.Main. Empty: this program with
	// guard.Argument.
	Exe  string
	Args []string
}

// DefaultConfig lacks Port and Interfaces.
func DefaultConfig() Config { return Config{Quiet: time.Second} }

// Validate finds all faults at once.
func (c Config) Validate() error {
	var errs []error
	if c.Port == 0 {
		errs = append(errs, errors.New("vip linux: port is 0: every node must listen on the same one; set [web] vip_port"))
	}
	if c.Quiet <= 0 {
		errs = append(errs, fmt.Errorf("vip linux: quiet is %s: must be above 0", c.Quiet))
	}
	for a, name := range c.Interfaces {
		switch {
		case len(names(name)) == 0:
			errs = append(errs, fmt.Errorf("vip linux: address %s has no interface; set interface in its [[vip.pool]]", a))
		case a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || a.Is4In6():
			errs = append(errs, fmt.Errorf("vip linux: %s cannot be held on an interface; change the pool's addresses", a))
		}
	}
	if c.Exe == "" && len(c.Args) > 0 {
		errs = append(errs, fmt.Errorf("vip linux: arguments %v without a program", c.Args))
	}
	return errors.Join(errs...)
}

// names are the interfaces of a list, in its order.
func names(list string) (out []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
