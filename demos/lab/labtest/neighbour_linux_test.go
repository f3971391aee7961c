package labtest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"rain/vip/linux/netlab"
)

// neighbour is a station in the client's host that asks for the addresses some
// hundred times a second and keeps a table of its own of who answers. It hears all
// hosts, whoever of them do not hear each other.
type neighbour struct {
	conn *packet.Conn
	own  net.HardwareAddr
	ip   netip.Addr
	vips []netip.Addr
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	answers map[netip.Addr][]netlab.Answer
}

// listen starts a neighbour in the client.
func (l *lab) listen(vips []netip.Addr) *neighbour {
	l.t.Helper()
	n := &neighbour{vips: vips, stop: make(chan struct{}), answers: map[netip.Addr][]netlab.Answer{}}
	l.inside("client", func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		n.own = ifi.HardwareAddr
		addrs, err := ifi.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				n.ip = p.Addr()
			}
		}
		n.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
		return err
	})
	n.wg.Go(n.read)
	n.wg.Go(n.ask)
	l.t.Cleanup(n.end)
	return n
}

func (n *neighbour) ask() {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-tick.C:
		}
		for _, v := range n.vips {
			// What is lost is asked again at once.
			_, _ = n.conn.WriteTo(n.whoHas(v), &packet.Addr{HardwareAddr: net.HardwareAddr{255, 255, 255, 255, 255, 255}})
		}
	}
}

func (n *neighbour) whoHas(v netip.Addr) []byte {
	b := append([]byte{255, 255, 255, 255, 255, 255}, n.own...)
	b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(append(b, n.own...), n.ip.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), v.AsSlice()...)
}

// read notes all ARP frames that say who has an address, answers and announcements.
func (n *neighbour) read() {
	buf := make([]byte, 2048)
	for {
		k, _, err := n.conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		if k < 42 || binary.BigEndian.Uint16(buf[12:]) != 0x0806 {
			continue
		}
		ip, _ := netip.AddrFromSlice(buf[28:32])
		for _, v := range n.vips {
			if ip == v {
				n.mu.Lock()
				n.answers[v] = append(n.answers[v], netlab.Answer{At: time.Now(), MAC: net.HardwareAddr(buf[22:28]).String(), Kind: "arp"})
				n.mu.Unlock()
			}
		}
	}
}

func (n *neighbour) end() {
	select {
	case <-n.stop:
		return
	default:
		close(n.stop)
	}
	_ = n.conn.Close() // ends read
	n.wg.Wait()
}

// clean fails if two stations answered for one address in turn. What the one before
// said may be on its way for so long when it is delayed by a fault: that is the net.
func (n *neighbour) clean(t *testing.T, onItsWay time.Duration) {
	t.Helper()
	n.end()
	total, moves := 0, 0
	for v, all := range n.answers {
		total += len(all)
		all = inTime(all, onItsWay)
		for i := 1; i < len(all); i++ {
			if all[i].MAC != all[i-1].MAC {
				moves++
			}
		}
		if late, _, text := netlab.Two(all); late > 0 {
			t.Errorf("%s: %d answers of two stations: %s", v, late, text)
		}
	}
	t.Logf("neighbour: %d answers, %d moves of an address, none in turn unless said", total, moves)
	if total == 0 {
		t.Error("nobody ever answered the neighbour")
	}
}

// inTime leaves out what the station before said, if it comes so soon after the first
// word of the next one.
func inTime(all []netlab.Answer, onItsWay time.Duration) (out []netlab.Answer) {
	var now, before string
	var since time.Time
	for _, a := range all {
		if a.MAC == before && a.At.Sub(since) <= onItsWay {
			continue
		}
		if a.MAC != now {
			now, before, since = a.MAC, now, a.At
		}
		out = append(out, a)
	}
	return out
}
