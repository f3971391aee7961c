// Package vip keeps the virtual IPs of a cluster answering: each is held by one
// member at a time, and by another one soon after that member dies, freezes or
// is drained. Nothing forwards bytes: the holder's own kernel answers.
//
// Who holds what is decided by the table (package table), a rider of the ring.
// The Manager is its shell: it proposes ops, and serves an address while the
// acting rule holds: this node owns it, its lease runs, and the wait of every
// earlier view change is over. A Driver brings an address onto this machine
// (package loopback: sockets on 127.0.0.0/8; package linux: addresses on an
// interface; driver "none": no addresses).
//
// Guarantees:
//   - At any moment only the holder listens, or its guard does for it.
//   - Once a node has proposed to give an address away it never acts on it again
//     by that ownership, unless the ring says that the op did not happen.
//   - A planned hand-over (drain, move, rebalancing) refuses no connection if the
//     driver is a Preparer. For its last milliseconds the successor's socket
//     queues what nobody answers yet:
//     owner: Prepare op; successor: listens beside it, Ready op; owner: steers new
//     connections to the successor, accepts what is left in its own queue, shuts
//     its socket, Give op; successor: accepts. Whatever the owner has accepted by
//     then its server answers.
//     A successor that is not ready in Config.PrepareTimeout gets the address
//     without this, if the owner must let go, or not at all.
//   - Connections accepted before a hand-over stay with the old holder's server, if
//     the driver can do that. If not (Leaver) they are brought to their end before
//     the address goes; a move that only levels the load waits for long ones
//     (ErrBusy), others break them.
//   - A node whose driver has lost its network (Watcher) gives all its addresses
//     away at once, and counts as draining until the network is back.
//   - Rebalancing is gentle: one address at a time in the whole cluster, and only
//     after the view has been stable for Config.Settle.
//
// API: Config, Ring, Driver, Preparer, Watcher and Manager's methods stay as they are,
// or get a new name; fields may be added to Status. An outside program brings a Ring
// (package ring, or anything with its leases and FreeAt: the guarantees are theirs),
// a Driver, and calls Renew for each lease. The example has both in memory.
//
// Limit: Gap is what the new holder can know: after a death the time since the
// last sign of the old order, planned the time since the old holder let go, by
// both hosts' wall clocks.
package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"rain/ring"
	"rain/vip/table"
)

// Ring is what the manager needs of the ring. Propose returns once the op is
// committed and applied here. Errors: ring.ErrNotPrimary promises that nothing
// happened; after any other the op may yet be applied.
type Ring interface {
	Self() ring.Member
	Now() ring.Instant
	LeaseUntil() ring.Instant
	Propose(ctx context.Context, op []byte) (result []byte, err error)
}

// Driver brings addresses onto this machine. Acquire may block, the others must
// not for more than moments; all may be called from any goroutine.
type Driver interface {
	// Acquire makes this machine the holder of the address. The listener ends
	// (Accept says net.ErrClosed) at the latest with the lease.
	Acquire(ctx context.Context, addr table.Address) (net.Listener, error)
	// Release undoes Acquire and closes its listener. When it returns this
	// machine answers no new connection.
	Release(addr netip.Addr)
	// Renew tells until when the lease runs.
	Renew(until ring.Instant)
}

// Preparer is a Driver with hand-overs that refuse no connection.
type Preparer interface {
	Driver
	// Prepare makes this machine collect, not accept, what Steer sends to it.
	Prepare(ctx context.Context, addr table.Address) (net.Listener, error)
	// Promote tells that a prepared address has become this machine's.
	Promote(addr netip.Addr)
	// Steer sends new connections to the prepared machine and returns when the
	// listener here has none left to accept. Its server goes on accepting. ErrBusy
	// says that letting go now would break connections; Promote undoes it all.
	Steer(ctx context.Context, addr netip.Addr) error
}

// Leaver is a Preparer that cannot leave open connections where they are: they
// break when the address goes.
type Leaver interface {
	Preparer
	// Leave, before Steer, has the connections end that idle, and the others after
	// their answers; new ones are taken as before. ErrBusy says that a request ran
	// all the while. Promote undoes it.
	Leave(ctx context.Context, addr netip.Addr) error
}

// ErrBusy says that connections to an address still run which would be broken if
// it were let go.
var ErrBusy = errors.New("vip: connections still run")

// Watcher is a Driver that can lose its network: then its addresses must go to
// others, though the node lives and its lease runs (by another interface).
type Watcher interface {
	Driver
	// Unfit says why this machine can hold nothing now; nil: it can.
	Unfit() error
	// Notify has changed called whenever Unfit may say something else. It is
	// called once, before anything is acquired; changed does not block.
	Notify(changed func())
}

// Serve answers connections until ln is closed, then it returns at once: the
// address is not given away before. ctx ends with the manager. An accepted
// connection may outlive Serve.
type Serve func(ctx context.Context, ln net.Listener, addr netip.Addr) error

// Drivers that a configuration may name.
const (
	DriverLoopback = "loopback"
	DriverLinux    = "linux"
	DriverNone     = "none"
)

// PoolConfig is a set of addresses in the node's file.
type PoolConfig struct {
	Name      string   `toml:"name"`
	Interface string   `toml:"interface"` // driver "linux": where its addresses are put
	Addresses []string `toml:"addresses"` // each with its network's length: "10.0.0.100/24"; "127.0.1.1" alone is /32
}

// Config of the layer. Zero durations are no defaults: start from DefaultConfig.
type Config struct {
	// Driver of this node: "loopback", "linux" or "none". Default none.
	Driver string
	// Port on which virtual IPs are served. Default 8080.
	Port uint16
	// Pools that this node's file proposes to a new cluster.
	Pools []PoolConfig
	// Lease of the ring, for the estimate of gaps only.
	Lease time.Duration
	// Settle is how long a view must be stable before load is levelled. Default
	// 2s. Lower levels sooner after a join, and moves more when nodes flap.
	Settle time.Duration
	// PrepareTimeout is how long a successor has to get ready; one that dies is
	// noticed sooner. Default 1s. Lower refuses more connections on a loaded machine.
	PrepareTimeout time.Duration
	// Tick is the longest time between two looks at lease and table. Default 1s:
	// changes wake the manager, and it knows the times that matter.
	Tick time.Duration
	// EndTold says that the shell calls Renew once more when the lease has run
	// out. Default false: then the manager wakes at the end of each lease that it
	// knew of to look, whether it was renewed or not.
	EndTold bool
	// Name of a node for people. Default: its id.
	Name func(ring.NodeID) string
}

// DefaultConfig is a node without virtual IPs.
func DefaultConfig() Config {
	return Config{
		Driver: DriverNone, Port: 8080, Lease: 100 * time.Millisecond,
		Settle: 2 * time.Second, PrepareTimeout: time.Second, Tick: time.Second,
		Name: ring.NodeID.String,
	}
}

// Validate finds all faults at once.
func (c Config) Validate() error {
	var errs []error
	if !slices.Contains([]string{DriverLoopback, DriverLinux, DriverNone}, c.Driver) {
		errs = append(errs, fmt.Errorf(`vip: driver is %q: must be "loopback", "linux" or "none"`, c.Driver))
	}
	if c.Port == 0 {
		errs = append(errs, errors.New("vip: port is 0: every node must serve virtual IPs on the same one; set [web] vip_port"))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"lease", c.Lease}, {"settle", c.Settle}, {"prepare time-out", c.PrepareTimeout}, {"tick", c.Tick}} {
		if d.d <= 0 {
			errs = append(errs, fmt.Errorf("vip: %s is %s: must be above 0", d.name, d.d))
		}
	}
	if c.Name == nil {
		errs = append(errs, errors.New("vip: no function that names nodes"))
	}
	if _, err := ParsePools(c.Pools); err != nil {
		errs = append(errs, err)
	}
	for _, p := range c.Pools {
		if c.Driver == DriverLinux && p.Interface == "" {
			errs = append(errs, fmt.Errorf(`vip: pool %q has no interface: driver "linux" must know where to put its addresses`, p.Name))
		}
	}
	return errors.Join(errs...)
}

// ParsePools reads the pools of a file, and finds all faults at once.
func ParsePools(pools []PoolConfig) ([]table.Pool, error) {
	var errs []error
	var out []table.Pool
	seen, names, total := map[netip.Addr]string{}, map[string]bool{}, 0
	for _, p := range pools {
		if p.Name == "" || len(p.Name) > table.MaxText || len(p.Interface) > table.MaxText {
			errs = append(errs, fmt.Errorf("vip: pool %q: name and interface must have 1 and 0 to %d bytes", p.Name, table.MaxText))
		}
		if names[p.Name] {
			errs = append(errs, fmt.Errorf("vip: pool %q is there twice; join the two", p.Name))
		}
		names[p.Name] = true
		o := table.Pool{Name: p.Name, Interface: p.Interface}
		for _, s := range p.Addresses {
			prefix, err := parseAddress(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("vip: pool %q: %w", p.Name, err))
				continue
			}
			if other, ok := seen[prefix.Addr()]; ok {
				errs = append(errs, fmt.Errorf("vip: pool %q: address %s is in pool %q already", p.Name, prefix.Addr(), other))
			}
			seen[prefix.Addr()] = p.Name
			o.Addresses = append(o.Addresses, prefix)
			total++
		}
		out = append(out, o)
	}
	if len(pools) > table.MaxPools || total > table.MaxAddresses {
		errs = append(errs, fmt.Errorf("vip: %d pools with %d addresses: at most %d and %d", len(pools), total, table.MaxPools, table.MaxAddresses))
	}
	return out, errors.Join(errs...)
}

func parseAddress(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf(`%q is no address with its network's length, as "10.0.0.100/24"`, s)
	}
	return p, nil
}

// Status is one address, for people.
type Status struct {
	Addr   netip.Addr
	Pool   string
	Holder ring.NodeID // 0: nobody
	// Answering: the holder has told so, and is in the view.
	Answering bool
	Since     time.Time // by the wall clock of who proposed the change
	Moves     uint64
	Cause     string
	Gap       time.Duration
	Pin       ring.NodeID // 0: none
	Draining  bool        // the holder is on its way out
}
