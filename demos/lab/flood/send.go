package flood

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Report is what was sent.
type Report struct {
	API     int               `json:"api"`
	To      string            `json:"to"`
	Seconds float64           `json:"seconds"`
	Sent    uint64            `json:"sent"`
	Refused uint64            `json:"refused"` // by this host's own system
	PerS    float64           `json:"per_s"`
	Kinds   map[string]uint64 `json:"kinds"`
}

// tick is how often a batch goes out.
const tick = time.Millisecond

// Send sends rate datagrams a second for so long.
func Send(ctx context.Context, m *Mix, to netip.AddrPort, rate int, length time.Duration) (Report, error) {
	rep := Report{API: 1, To: to.String(), Kinds: map[string]uint64{}}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return rep, fmt.Errorf("flood: %w", err)
	}
	defer func() { _ = c.Close() }() // what it sent is gone
	start := time.Now()
	t := time.NewTicker(tick)
	defer t.Stop()
	for time.Since(start) < length && ctx.Err() == nil {
		due := uint64(time.Since(start).Seconds() * float64(rate))
		for rep.Sent+rep.Refused < due {
			if _, err := c.Write(m.Next()); err != nil {
				rep.Refused++ // full queue, or nobody listens: go on
			} else {
				rep.Sent++
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	rep.Seconds = time.Since(start).Seconds()
	rep.PerS = float64(rep.Sent) / rep.Seconds
	for i, name := range Kinds {
		rep.Kinds[name] = m.Sent[i]
	}
	return rep, nil
}
