package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nic is an interface as it is at one moment.
type nic struct {
	name  string
	index int
	mac   net.HardwareAddr
	up    bool
}

func nicOf(l netlink.Link) nic {
	a := l.Attrs()
	// RUNNING means a carrier, too: a cable pulled out is noticed.
	const need = unix.IFF_UP | unix.IFF_RUNNING
	return nic{name: a.Name, index: a.Index, mac: a.HardwareAddr, up: a.RawFlags&need == need}
}

// findNIC looks an interface up and checks that addresses can be held on it.
func findNIC(name string) (nic, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nic{}, fmt.Errorf("vip linux: interface %q: %w; 'ip link' lists those of this machine", name, err)
	}
	n := nicOf(l)
	if l.Attrs().EncapType != "ether" || len(n.mac) != 6 {
		return nic{}, fmt.Errorf("vip linux: interface %q is no Ethernet (%s): nothing can be announced on it; name another one in [[vip.pool]]", name, l.Attrs().EncapType)
	}
	return n, nil
}

// prefixFor is the length with which addr is put on the interface: see the package.
func prefixFor(n nic, want netip.Prefix) (netip.Prefix, error) {
	alone := netip.PrefixFrom(want.Addr(), want.Addr().BitLen())
	family := netlink.FAMILY_V4
	if want.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: n.index}}
	addrs, err := netlink.AddrList(link, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return alone, fmt.Errorf("vip linux: addresses of %s: %w", n.name, err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if ip = ip.Unmap(); ok && ip != want.Addr() && want.Contains(ip) {
			return alone, nil
		}
	}
	if want.Bits() == 0 {
		return alone, nil
	}
	return want, nil
}

// takeOff removes addr from every interface, whoever put it there, and says
// where it was.
func takeOff(addr netip.Addr) (from []string, err error) {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("vip linux: list interfaces: %w", err)
	}
	var errs []error
	for _, l := range links {
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			errs = append(errs, fmt.Errorf("vip linux: addresses of %s: %w", l.Attrs().Name, err))
			continue
		}
		for _, a := range addrs {
			if ip, ok := netip.AddrFromSlice(a.IP); !ok || ip.Unmap() != addr {
				continue
			}
			if err := netlink.AddrDel(l, &netlink.Addr{IPNet: a.IPNet}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				errs = append(errs, fmt.Errorf("vip linux: take %s off %s: %w", addr, l.Attrs().Name, err))
				continue
			}
			from = append(from, l.Attrs().Name)
		}
	}
	return from, errors.Join(errs...)
}

// Check looks whether this machine can run the driver. Warnings are settings of
// the kernel under which neighbours may be misled, each with its remedy.
func Check(cfg Config) (warnings []string, err error) {
	var errs []error
	if !capable(unix.CAP_NET_ADMIN) || !capable(unix.CAP_NET_RAW) {
		errs = append(errs, ErrCapability)
	}
	var used []nic
	seen := map[string]bool{}
	for addr, list := range cfg.Interfaces {
		for _, name := range names(list) {
			if addr.Is6() && sysctl("ipv6", name, "disable_ipv6") != "0" {
				errs = append(errs, fmt.Errorf("vip linux: %s is an IPv6 address and IPv6 is off on %s: sysctl -w net.ipv6.conf.%s.disable_ipv6=0", addr, name, name))
			}
			if seen[name] {
				continue
			}
			seen[name] = true
			n, err := findNIC(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			used = append(used, n)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return misleading(used), nil
}

// misleading finds what makes a machine with several interfaces answer ARP for
// an address on the wrong one, or throw away what comes in by the right one.
func misleading(used []nic) (warnings []string) {
	links, err := netlink.LinkList()
	if err != nil {
		return []string{fmt.Sprintf("cannot list the interfaces to check their settings: %v", err)}
	}
	ethernets := 0
	for _, l := range links {
		if a := l.Attrs(); a.EncapType == "ether" && a.RawFlags&unix.IFF_UP != 0 && a.MasterIndex == 0 {
			ethernets++
		}
	}
	if ethernets < 2 {
		return nil
	}
	// Of these the kernel takes the larger one of all and the interface's.
	strictest := func(name, key string) string { return max(sysctl("ipv4", "all", key), sysctl("ipv4", name, key)) }
	for _, n := range used {
		if strictest(n.name, "arp_ignore") == "0" {
			warnings = append(warnings, "this machine has several interfaces and answers ARP for any address on any of them: sysctl -w net.ipv4.conf.all.arp_ignore=1")
		}
		if strictest(n.name, "arp_announce") == "0" {
			warnings = append(warnings, "this machine has several interfaces and may name the wrong address in its ARP requests: sysctl -w net.ipv4.conf.all.arp_announce=2")
		}
		if strictest(n.name, "rp_filter") == "1" {
			warnings = append(warnings, fmt.Sprintf("%s drops packets of clients that this machine would answer by another interface: sysctl -w net.ipv4.conf.%s.rp_filter=2", n.name, n.name))
		}
	}
	slices.Sort(warnings)
	return slices.Compact(warnings)
}

// sysctl is a setting of an interface, "" if there is no such thing.
func sysctl(family, name, key string) string {
	// VLAN names have dots, none has a slash.
	b, err := os.ReadFile(filepath.Join("/proc/sys/net", family, "conf", filepath.Base(name), key))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// capable reports whether the process has a capability.
func capable(c int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[c/32].Effective&(1<<(c%32)) != 0
}
