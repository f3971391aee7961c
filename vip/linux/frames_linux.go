package linux

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

const (
	ethernetHeader = 14
	arpLength      = 28
	ip6Header      = 40
	icmpv6         = 58
	neighborAdvert = 136 // ICMPv6 type, RFC 4861 section 4.4
)

// announcements are the frames by which mac says to all stations that addr is here.
func announcements(addr netip.Addr, mac net.HardwareAddr) ([][]byte, error) {
	if addr.Is6() {
		f, err := advertisement(addr, mac)
		if err != nil {
			return nil, err
		}
		return [][]byte{f}, nil
	}
	var frames [][]byte
	for _, op := range []arp.Operation{arp.OperationRequest, arp.OperationReply} {
		// RFC 5227 section 3: the target is the address itself. A reply names its
		// sender as the target's hardware, as other announcers have it.
		target := net.HardwareAddr{0, 0, 0, 0, 0, 0}
		if op == arp.OperationReply {
			target = mac
		}
		p, err := arp.NewPacket(op, mac, addr, target, addr)
		if err != nil {
			return nil, fmt.Errorf("vip linux: announcement of %s: %w", addr, err)
		}
		payload, err := p.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("vip linux: announcement of %s: %w", addr, err)
		}
		f := ethernet.Frame{Destination: ethernet.Broadcast, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: payload}
		b, err := f.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("vip linux: announcement of %s: %w", addr, err)
		}
		frames = append(frames, b)
	}
	return frames, nil
}

// advertisement is an unsolicited neighbour advertisement to all nodes.
func advertisement(addr netip.Addr, mac net.HardwareAddr) ([]byte, error) {
	allNodes := netip.MustParseAddr("ff02::1")
	na := &ndp.NeighborAdvertisement{
		Override: true, TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}
	icmp, err := ndp.MarshalMessageChecksum(na, addr, allNodes)
	if err != nil {
		return nil, fmt.Errorf("vip linux: advertisement of %s: %w", addr, err)
	}
	b := make([]byte, ethernetHeader+ip6Header, ethernetHeader+ip6Header+len(icmp))
	copy(b, []byte{0x33, 0x33, 0, 0, 0, 1}) // RFC 2464 section 7
	copy(b[6:], mac)
	binary.BigEndian.PutUint16(b[12:], uint16(ethernet.EtherTypeIPv6))
	ip := b[ethernetHeader:]
	ip[0] = 6 << 4
	binary.BigEndian.PutUint16(ip[4:], uint16(len(icmp)))
	ip[6], ip[7] = icmpv6, 255
	src, dst := addr.As16(), allNodes.As16()
	copy(ip[8:], src[:])
	copy(ip[24:], dst[:])
	return append(b, icmp...), nil
}

// claimant takes a frame from the network apart and says who claims which
// address by it. Frames that claim nothing, and bytes that are no frame, are !ok.
func claimant(b []byte) (addr netip.Addr, mac net.HardwareAddr, ok bool) {
	if len(b) < ethernetHeader {
		return netip.Addr{}, nil, false
	}
	payload := b[ethernetHeader:]
	switch ethernet.EtherType(binary.BigEndian.Uint16(b[12:])) {
	case ethernet.EtherTypeARP:
		// Ethernet and IPv4 alone: the library would believe other lengths.
		if len(payload) < arpLength || binary.BigEndian.Uint16(payload[0:]) != 1 || payload[4] != 6 || payload[5] != 4 {
			return netip.Addr{}, nil, false
		}
		var p arp.Packet
		if err := p.UnmarshalBinary(payload); err != nil {
			return netip.Addr{}, nil, false
		}
		// A probe (sender 0.0.0.0) asks and claims nothing.
		return p.SenderIP, p.SenderHardwareAddr, !p.SenderIP.IsUnspecified()
	case ethernet.EtherTypeIPv6:
		if len(payload) < ip6Header || payload[0]>>4 != 6 || payload[6] != icmpv6 || payload[7] != 255 {
			return netip.Addr{}, nil, false
		}
		size := int(binary.BigEndian.Uint16(payload[4:]))
		payload = payload[ip6Header:]
		if size > len(payload) || size < 1 || payload[0] != neighborAdvert {
			return netip.Addr{}, nil, false
		}
		m, err := ndp.ParseMessage(payload[:size])
		na, is := m.(*ndp.NeighborAdvertisement)
		if err != nil || !is {
			return netip.Addr{}, nil, false
		}
		for _, o := range na.Options {
			if l, is := o.(*ndp.LinkLayerAddress); is && l.Direction == ndp.Target && len(l.Addr) == 6 {
				return na.TargetAddress, l.Addr, true
			}
		}
	}
	return netip.Addr{}, nil, false
}
