package netlab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Observer asks the network, as the client, who has the VIP: by ARP to all and by
// a SYN to each node's hardware address, every two milliseconds. It notes who
// answers.
type Observer struct {
	c       *Cluster
	conn    *packet.Conn
	own     net.HardwareAddr
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	stopped atomic.Bool

	mu      sync.Mutex
	answers []Answer
}

// Answer is one answer for the VIP.
type Answer struct {
	At   time.Time
	MAC  string
	Kind string // "arp" or "syn-ack"
}

// Observe starts an observer; Stop ends it.
func (c *Cluster) Observe() *Observer {
	c.t.Helper()
	o := &Observer{c: c}
	c.In(c.ClientNS(), func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		o.own = ifi.HardwareAddr
		o.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	o.cancel = cancel
	o.wg.Go(o.read)
	o.wg.Go(func() { o.ask(ctx) })
	c.t.Cleanup(func() { o.Stop() })
	return o
}

// Stop ends the observer and returns all answers, oldest first.
func (o *Observer) Stop() []Answer {
	o.stopped.Store(true)
	o.cancel()
	_ = o.conn.Close() // ends read; a second Stop finds it closed
	o.wg.Wait()
	return o.answers
}

// Seen is how many answers there are so far.
func (o *Observer) Seen() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.answers)
}

// shortest is the least time for which a station can hold an address by right.
const shortest = 60 * time.Millisecond

// Two counts answers of two stations at a time: those of one, in a stretch too
// short for a rightful move there and back, between answers of another. overlap
// is from the first of them to the last.
func Two(answers []Answer) (late int, overlap time.Duration, text string) {
	type run struct {
		mac         string
		n           int
		first, last time.Time
	}
	var runs []run
	for _, a := range answers {
		if k := len(runs); k > 0 && runs[k-1].mac == a.MAC {
			runs[k-1].n++
			runs[k-1].last = a.At
			continue
		}
		runs = append(runs, run{a.MAC, 1, a.At, a.At})
	}
	var from time.Time
	for i := 1; i+1 < len(runs); i++ {
		if r := runs[i]; runs[i-1].mac == runs[i+1].mac && r.last.Sub(r.first) < shortest {
			if late == 0 {
				from = r.first
			}
			late += r.n
			overlap = r.last.Sub(from)
			text = fmt.Sprintf("%s and %s answered in turn for %s", r.mac, runs[i-1].mac, overlap)
		}
	}
	return late, overlap, text
}

func (o *Observer) ask(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	port := uint16(20000)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		port++
		if port < 20000 || port > 30000 {
			port = 20000
		}
		o.send(whoHas(o.own, o.c.Client, o.c.VIP.Addr()))
		for _, n := range o.c.Nodes {
			o.send(syn(o.own, n.MAC, netip.AddrPortFrom(o.c.Client, port), o.c.VIP))
		}
	}
}

func (o *Observer) send(b []byte) {
	_, err := o.conn.WriteTo(b, &packet.Addr{HardwareAddr: b[:6]})
	if err != nil && !o.stopped.Load() && !errors.Is(err, unix.ENOBUFS) {
		o.c.t.Errorf("netlab: observer: %v", err)
	}
}

func (o *Observer) read() {
	buf := make([]byte, 4096)
	for {
		n, _, err := o.conn.ReadFrom(buf)
		if err != nil {
			if !o.stopped.Load() {
				o.c.t.Errorf("netlab: observer: %v", err)
			}
			return
		}
		if kind := o.kind(buf[:n]); kind != "" {
			o.mu.Lock()
			o.answers = append(o.answers, Answer{time.Now(), net.HardwareAddr(buf[6:12]).String(), kind})
			o.mu.Unlock()
		}
	}
}

// kind says what answer for the VIP a frame is, "" if it is none.
func (o *Observer) kind(b []byte) string {
	vip := o.c.VIP.Addr().AsSlice()
	if len(b) < 42 || bytes.Equal(b[6:12], o.own) {
		return ""
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case 0x0806:
		if b[21] == 2 && bytes.Equal(b[28:32], vip) && bytes.Equal(b[38:42], o.c.Client.AsSlice()) {
			return "arp"
		}
	case 0x0800:
		at := 14 + int(b[14]&15)*4
		if b[23] == 6 && bytes.Equal(b[26:30], vip) && len(b) >= at+14 && b[at+13]&0x12 == 0x12 {
			return "syn-ack"
		}
	}
	return ""
}

func whoHas(own net.HardwareAddr, from, whom netip.Addr) []byte {
	b := append(bytes.Repeat([]byte{0xff}, 6), own...)
	b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(append(b, own...), from.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), whom.AsSlice()...)
}

func syn(own, to net.HardwareAddr, from, vip netip.AddrPort) []byte {
	b := append(append([]byte(nil), to...), own...)
	b = append(b, 8, 0)
	ip := make([]byte, 40)
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], 40)
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], vip.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], sum(0, ip[:20]))
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, from.Port())
	binary.BigEndian.PutUint16(tcp[2:], vip.Port())
	binary.BigEndian.PutUint32(tcp[4:], uint32(time.Now().UnixMicro()))
	tcp[12], tcp[13] = 5<<4, 2
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	pseudo := uint32(6 + len(tcp))
	for i := 12; i < 20; i += 2 {
		pseudo += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(tcp[16:], sum(pseudo, tcp))
	return append(b, ip...)
}

// sum is the Internet checksum of an even number of bytes.
func sum(s uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
