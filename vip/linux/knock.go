package linux

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// errNoKnock says that bytes are no connection attempt.
var errNoKnock = errors.New("vip linux: not a SYN over Ethernet")

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	protoTCP  = 6
	maxKnock  = 256 // Ethernet, IP and TCP headers with all options: 14 + 60 + 60
)

// redirect makes of a frame with a SYN for to one that goes from our hardware
// address to another's. Frames that are anything else are an error. Where the
// sender left the checksum to hardware (sum false: so it is between virtual
// interfaces of one host) it is worked out. The result shares nothing with b.
func redirect(b []byte, to netip.AddrPort, from, dst [6]byte, sum bool) ([]byte, error) {
	if len(b) < 14 || len(b) > maxKnock {
		return nil, errNoKnock
	}
	var pseudo uint32
	var tcp []byte
	out := append([]byte(nil), b...)
	ip := out[14:]
	switch etherType := binary.BigEndian.Uint16(out[12:]); {
	case etherType == etherIPv4 && to.Addr().Is4():
		size := 0
		if len(ip) >= 20 {
			size = int(ip[0]&15) * 4
		}
		total := 0
		if size >= 20 {
			total = int(binary.BigEndian.Uint16(ip[2:]))
		}
		if size < 20 || ip[0]>>4 != 4 || total < size || total > len(ip) || ip[9] != protoTCP ||
			binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 || [4]byte(ip[16:20]) != to.Addr().As4() {
			return nil, errNoKnock
		}
		tcp = ip[size:total]
		out = out[:14+total]
		pseudo = add(0, ip[12:20])
	case etherType == etherIPv6 && to.Addr().Is6():
		if len(ip) < 40 || ip[0]>>4 != 6 || ip[6] != protoTCP || [16]byte(ip[24:40]) != to.Addr().As16() {
			return nil, errNoKnock
		}
		total := 40 + int(binary.BigEndian.Uint16(ip[4:]))
		if total > len(ip) {
			return nil, errNoKnock
		}
		tcp = ip[40:total]
		out = out[:14+total]
		pseudo = add(0, ip[8:40])
	default:
		return nil, errNoKnock
	}
	const flags, syn, ack = 13, 2, 16
	if len(tcp) < 20 || tcp[flags]&(syn|ack) != syn || binary.BigEndian.Uint16(tcp[2:]) != to.Port() {
		return nil, errNoKnock
	}
	if !sum {
		tcp[16], tcp[17] = 0, 0
		s := add(pseudo+protoTCP+uint32(len(tcp)), tcp)
		for s > 0xffff {
			s = s>>16 + s&0xffff
		}
		binary.BigEndian.PutUint16(tcp[16:], ^uint16(s))
	}
	copy(out, dst[:])
	copy(out[6:], from[:])
	return out, nil
}

// add is the Internet checksum's sum (RFC 1071), not folded. b is short enough
// not to overflow.
func add(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}
