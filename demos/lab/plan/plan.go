// Package plan reads a topology file of the laboratory: which hosts, switches
// and cables there are, and what runs on the hosts.
//
// A file is TOML. Either [net] builds hosts and switches by a construction of
// rain/ring/topology, or switches, trunks and [[host]] tables spell them out:
//
//	name = "small"
//	rate = 0              # of each cable of a host, each way, bytes a second; 0: no limit
//	switches = ["s1", "s2"]
//	trunks = ["s1-s2"]
//	mtu = 1500            # of all interfaces, 1280 to 9000; long frames cost the laboratory less
//
//	[cluster]
//	preset = "lan"        # of the nodes; default "lan"
//	detection = ""        # default: the program's
//	relay = true          # nodes carry messages for others; default true
//	vips = 2              # addresses 10.77.100.1 and on; default 2
//	vip_interface = "eth0" # default: all of a host, "eth0,eth1"
//	code = ""             # of stored films, "n,k"; default: the program's
//
//	[net]                 # instead of switches, trunks and hosts
//	kind = "diameter"     # naive, diameter or chord
//	nodes = 10
//	switches = 4
//	links = 2             # interfaces of a node
//	ports = 8             # of a switch; 0: as many as it takes
//
//	[[host]]
//	name = "n1"
//	to = ["s1", "s2"]     # one interface for each: eth0, eth1
//	role = "node"         # node (default) or client (an empty host)
//
// A host "client" with a cable to the first switch is added if there is no
// client. Interface j of the i-th host is 10.77.(j+1).i/16 and fd77::(j+1):i/64.
//
// Limits: 100 hosts, 8 interfaces a host, 64 switches.
package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"rain/ring/topology"
)

// Plan is a whole laboratory.
type Plan struct {
	Name     string
	Rate     int64 // of a host's cable, bytes a second; 0: no limit
	MTU      int
	Switches []string
	Trunks   [][2]string
	Hosts    []Host
	Cluster  Cluster
}

// Cluster says how the nodes run.
type Cluster struct {
	Preset       string `toml:"preset"`
	Detection    string `toml:"detection"`
	Relay        bool   `toml:"relay"`
	VIPs         int    `toml:"vips"`
	VIPInterface string `toml:"vip_interface"`
	Code         string `toml:"code"`
}

// Host is one box.
type Host struct {
	Name  string
	Node  bool // runs a node; else it is a client
	Ports []Port
}

// Port is one interface.
type Port struct {
	Name   string // n1.0
	Device string // eth0, inside the host
	Cable  string // n1-s2
	Switch string
	MAC    [6]byte
	IPv4   netip.Prefix
	IPv6   netip.Prefix
	MTU    int
}

type file struct {
	Name     string   `toml:"name"`
	Rate     int64    `toml:"rate"`
	MTU      int      `toml:"mtu"`
	Switches []string `toml:"switches"`
	Trunks   []string `toml:"trunks"`
	Cluster  Cluster  `toml:"cluster"`
	Net      *netFile `toml:"net"`
	Hosts    []struct {
		Name string   `toml:"name"`
		To   []string `toml:"to"`
		Role string   `toml:"role"`
	} `toml:"host"`
}

type netFile struct {
	Kind     topology.Kind `toml:"kind"`
	Nodes    int           `toml:"nodes"`
	Switches int           `toml:"switches"`
	Links    int           `toml:"links"`
	Ports    int           `toml:"ports"`
	Offset   int           `toml:"offset"`
}

// Bounds of a plan.
const (
	MaxHosts = 100
	maxVIPs  = 64
)

// Parse reads a topology file. Errors name what is wrong in it, all at once.
func Parse(text string) (*Plan, error) {
	f := file{Name: "lab", MTU: 1500, Cluster: Cluster{Preset: "lan", Relay: true, VIPs: 2}}
	meta, err := toml.Decode(text, &f)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if un := meta.Undecoded(); len(un) > 0 {
		return nil, fmt.Errorf("plan: unknown key %q", un[0].String())
	}
	p := &Plan{Name: f.Name, Rate: f.Rate, MTU: f.MTU, Cluster: f.Cluster}
	if f.Net != nil {
		err = p.build(f)
	} else {
		err = p.spell(f)
	}
	if err != nil {
		return nil, err
	}
	return p, p.finish()
}

// build makes hosts and switches by a construction.
func (p *Plan) build(f file) error {
	if len(f.Switches)+len(f.Trunks)+len(f.Hosts) > 0 {
		return errors.New("plan: [net] builds switches, trunks and hosts; leave yours out")
	}
	n, err := topology.New(f.Net.Kind, f.Net.Nodes, f.Net.Switches, f.Net.Links, f.Net.Ports, f.Net.Offset)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	for s := range n.Switches {
		p.Switches = append(p.Switches, topology.Element{Part: topology.Switch, A: s}.String())
	}
	for _, e := range n.Elements(topology.RingLink) {
		p.Trunks = append(p.Trunks, [2]string{p.Switches[e.A], p.Switches[e.B]})
	}
	for i, to := range n.Links {
		h := Host{Name: topology.Element{Part: topology.Node, A: i}.String(), Node: true}
		for _, s := range to {
			h.Ports = append(h.Ports, Port{Switch: p.Switches[s]})
		}
		p.Hosts = append(p.Hosts, h)
	}
	return nil
}

func (p *Plan) spell(f file) error {
	p.Switches = f.Switches
	for _, t := range f.Trunks {
		a, b, ok := strings.Cut(t, "-")
		if !ok {
			return fmt.Errorf("plan: trunk %q: must be like s1-s2", t)
		}
		p.Trunks = append(p.Trunks, [2]string{a, b})
	}
	for _, x := range f.Hosts {
		if x.Role != "" && x.Role != "node" && x.Role != "client" {
			return fmt.Errorf("plan: host %s: role %q: must be node or client", x.Name, x.Role)
		}
		h := Host{Name: x.Name, Node: x.Role != "client"}
		for _, s := range x.To {
			h.Ports = append(h.Ports, Port{Switch: s})
		}
		p.Hosts = append(p.Hosts, h)
	}
	return nil
}

// finish checks the plan and gives names and addresses.
func (p *Plan) finish() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("plan: "+format, args...))
		}
	}
	fault(len(p.Switches) == 0, "no switch")
	fault(p.Rate < 0 || p.Rate > 0 && p.Rate < 10_000, "rate %d: must be 0, or at least 10000 bytes a second", p.Rate)
	fault(len(p.Switches) > 64, "%d switches: at most 64", len(p.Switches))
	fault(len(p.Hosts) > MaxHosts, "%d hosts: at most %d", len(p.Hosts), MaxHosts)
	fault(p.Cluster.VIPs < 0 || p.Cluster.VIPs > maxVIPs, "%d VIPs: must be 0 to %d", p.Cluster.VIPs, maxVIPs)
	fault(p.MTU < 1280 || p.MTU > 9000, "mtu %d: must be 1280 to 9000", p.MTU)
	if !slices.ContainsFunc(p.Hosts, func(h Host) bool { return !h.Node }) && len(p.Switches) > 0 {
		p.Hosts = append(p.Hosts, Host{Name: "client", Ports: []Port{{Switch: p.Switches[0]}}})
	}
	seen := map[string]bool{}
	for _, name := range p.Switches {
		fault(!goodName(name), "switch %q: a name is letters and digits, at most 12", name)
		fault(seen[name], "%q is there twice", name)
		seen[name] = true
	}
	for i := range p.Hosts {
		h := &p.Hosts[i]
		fault(!goodName(h.Name), "host %q: a name is letters and digits, at most 12", h.Name)
		fault(seen[h.Name], "%q is there twice", h.Name)
		seen[h.Name] = true
		fault(len(h.Ports) < 1 || len(h.Ports) > 8, "host %s: %d interfaces: must be 1 to 8", h.Name, len(h.Ports))
		for j := range h.Ports {
			fault(!slices.Contains(p.Switches, h.Ports[j].Switch), "host %s: no switch %q", h.Name, h.Ports[j].Switch)
			h.name(i+1, j)
			h.Ports[j].MTU = p.MTU
		}
	}
	return errors.Join(errs...)
}

func (h *Host) name(i, j int) {
	port := &h.Ports[j]
	port.Name = fmt.Sprintf("%s.%d", h.Name, j)
	port.Device = fmt.Sprintf("eth%d", j)
	port.Cable = h.Name + "-" + port.Switch
	for k := range h.Ports {
		if k != j && h.Ports[k].Switch == port.Switch {
			port.Cable = port.Name + "-" + port.Switch
		}
	}
	port.MAC = [6]byte{0x02, 0x52, 0x41, 0x49, byte(j), byte(i)}
	port.IPv4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, byte(j + 1), byte(i)}), 16)
	port.IPv6 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 13: byte(j + 1), 15: byte(i)}), 64)
}

func goodName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 12
}

// VIPs are the virtual addresses of the cluster.
func (p *Plan) VIPs() []netip.Prefix {
	var out []netip.Prefix
	for i := range p.Cluster.VIPs {
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 100, byte(i + 1)}), 16))
	}
	return out
}

// Nodes are the hosts that run a node.
func (p *Plan) Nodes() []*Host {
	var out []*Host
	for i := range p.Hosts {
		if p.Hosts[i].Node {
			out = append(out, &p.Hosts[i])
		}
	}
	return out
}

// Host finds a host by its name.
func (p *Plan) Host(name string) (*Host, bool) {
	for i := range p.Hosts {
		if p.Hosts[i].Name == name {
			return &p.Hosts[i], true
		}
	}
	return nil, false
}
