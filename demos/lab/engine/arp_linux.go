package engine

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// observer is a host of its own that asks for the virtual addresses again and
// again, and notes who answers or announces.
type observer struct {
	pump *pump
	port int
	vips []netip.Addr

	mu     sync.Mutex
	claims []Claim
}

// Claim says that a hardware address answered for an IP address, or announced
// it, from first to last.
type Claim struct {
	VIP    string    `json:"vip"`
	MAC    string    `json:"mac"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Frames int       `json:"frames"`
}

var (
	observerMAC = [6]byte{0x02, 0x52, 0x41, 0x49, 0xff, 0xff}
	observerIP  = netip.AddrFrom4([4]byte{10, 77, 0, 254})
)

const (
	arpFrame   = 42
	askEvery   = 20 * time.Millisecond
	maxClaims  = 10_000
	claimStale = time.Second // without a sign: a new claim
)

func (o *observer) run(ctx context.Context) {
	t := time.NewTicker(askEvery)
	defer t.Stop()
	for {
		for _, v := range o.vips {
			o.pump.send(o.port, arpRequest(v))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func arpRequest(v netip.Addr) []byte {
	f := make([]byte, arpFrame)
	copy(f, []byte{255, 255, 255, 255, 255, 255})
	copy(f[6:], observerMAC[:])
	binary.BigEndian.PutUint16(f[12:], 0x0806)
	copy(f[14:], []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(f[22:], observerMAC[:])
	copy(f[28:], observerIP.AsSlice())
	copy(f[38:], v.AsSlice())
	return f
}

// take looks at a frame that came to the observer's port. An ARP frame of either
// form whose sender address is a VIP is a claim.
func (o *observer) take(f []byte) {
	if len(f) < arpFrame || binary.BigEndian.Uint16(f[12:]) != 0x0806 {
		return
	}
	ip, ok := netip.AddrFromSlice(f[28:32])
	if !ok || !slices.Contains(o.vips, ip) {
		return
	}
	mac, now := net.HardwareAddr(f[22:28]).String(), time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, seen := len(o.claims)-1, 0; i >= 0 && seen < 64; i, seen = i-1, seen+1 {
		if c := &o.claims[i]; c.VIP == ip.String() && c.MAC == mac && now.Sub(c.Last) < claimStale {
			c.Last = now
			c.Frames++
			return
		}
	}
	if len(o.claims) < maxClaims {
		o.claims = append(o.claims, Claim{VIP: ip.String(), MAC: mac, First: now, Last: now, Frames: 1})
	}
}

func (o *observer) all() []Claim {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.claims)
}
