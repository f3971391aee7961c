package main

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"rain/cmd/internal/cli"
	"rain/conf"
)

// defaultRingPort is that of the ring's links.
const defaultRingPort = 7400

// ownLinks are this box's ends of the ring. Without a wish they are the addresses
// by which it reaches the doors, or the one that leads out.
func ownLinks(wish []string, doors []netip.AddrPort) ([]conf.Link, error) {
	var at []netip.AddrPort
	for _, s := range wish {
		for part := range strings.SplitSeq(s, ",") {
			a, err := linkAddr(part)
			if err != nil {
				return nil, err
			}
			at = append(at, a)
		}
	}
	if len(wish) == 0 {
		for _, d := range doors {
			if ip, ok := towards(d); ok && !slices.ContainsFunc(at, func(x netip.AddrPort) bool { return x.Addr() == ip }) {
				at = append(at, netip.AddrPortFrom(ip, d.Port()))
			}
		}
	}
	if len(at) == 0 {
		ip, err := leadsOut()
		if err != nil {
			return nil, err
		}
		at = append(at, netip.AddrPortFrom(ip, defaultRingPort))
	}
	var links []conf.Link
	for i, a := range at {
		if err := free(a); err != nil {
			return nil, err
		}
		links = append(links, conf.Link{Name: string(rune('a' + i)), Listen: a})
	}
	return links, nil
}

func linkAddr(s string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, defaultRingPort), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return a, usage("--listen %s: want an IP address of this box, with or without a port", s)
	}
	return a, nil
}

// free finds an address that is taken, or not of this box, before anything is
// written or an invitation is spent.
func free(a netip.AddrPort) error {
	ln, err := net.Listen("tcp", a.String())
	if err != nil {
		return fmt.Errorf("rainctl: %s cannot be used by the ring: %w", a, err)
	}
	return ln.Close()
}

// towards is this box's address on the way to another; nothing is sent.
func towards(to netip.AddrPort) (netip.Addr, bool) {
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), true
}

// leadsOut is the address of the interface with the default route, or the only
// one that there is.
func leadsOut() (netip.Addr, error) {
	if ip, ok := towards(netip.MustParseAddrPort("192.0.2.1:9")); ok && !ip.IsLoopback() {
		return ip, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("rainctl: %w", err)
	}
	var found []string
	var one netip.Addr
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().IsGlobalUnicast() && !p.Addr().IsLoopback() {
			found, one = append(found, p.Addr().String()), p.Addr()
		}
	}
	if len(found) != 1 {
		return one, cli.New(cli.Usage, "which_interface", "say --listen IP", "this box has %d addresses (%s): which one do the nodes meet on?", len(found), strings.Join(found, ", "))
	}
	return one, nil
}

// vipSection makes the part of the file about virtual addresses.
func vipSection(addrs []string, iface string) (conf.VIP, error) {
	pool := conf.Pool{Name: "web", Interface: iface}
	loopback := true
	for _, s := range addrs {
		for part := range strings.SplitSeq(s, ",") {
			p, err := netip.ParsePrefix(part)
			if ip, errIP := netip.ParseAddr(part); errIP == nil {
				p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
			}
			if err != nil {
				return conf.VIP{}, usage("--vip %s: want an address with the length of its network, such as 10.0.0.100/24", part)
			}
			pool.Addresses = append(pool.Addresses, p)
			loopback = loopback && p.Addr().IsLoopback()
		}
	}
	return vipDriver(conf.VIP{Pools: []conf.Pool{pool}}, loopback)
}

// vipDriver chooses the driver, and for real addresses each pool's interface.
func vipDriver(v conf.VIP, loopback bool) (conf.VIP, error) {
	switch {
	case loopback:
		v.Driver = "loopback"
		return v, nil
	case runtime.GOOS != "linux":
		return v, cli.New(cli.BadInput, "no_driver", "make the node without --vip: it is a member and serves on its own address", "this system cannot hold virtual addresses; Linux can")
	}
	v.Driver = "linux"
	for i := range v.Pools {
		p := &v.Pools[i]
		if p.Interface != "" {
			if _, err := net.InterfaceByName(p.Interface); err == nil {
				continue
			}
		}
		name, err := interfaceOf(p.Addresses)
		if err != nil {
			return v, err
		}
		p.Interface = name
	}
	return v, nil
}

// interfaceOf is the interface in whose network the addresses are.
func interfaceOf(addrs []netip.Prefix) (string, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("rainctl: %w", err)
	}
	for _, i := range ifs {
		list, err := i.Addrs()
		if err != nil {
			continue // it went away just now
		}
		for _, a := range list {
			own, err := netip.ParsePrefix(a.String())
			if err == nil && slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return own.Masked().Contains(p.Addr()) }) {
				return i.Name, nil
			}
		}
	}
	return "", cli.New(cli.Usage, "which_interface", "say --interface NAME", "no interface of this box is in the network of %v", addrs)
}
