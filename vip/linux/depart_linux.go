package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// The successor is heard within a rotation or two. What it did not get by
	// then tries again by itself.
	departureLimit = 5 * time.Second
)

// departure keeps connection attempts at an address that is handed over, and
// sends them to the successor's hardware address once that is known.
type departure struct {
	to   netip.AddrPort
	from nic
	log  *slog.Logger
	fd   int // AF_PACKET
	wake *waker

	mu     sync.Mutex
	knocks []knock
	dst    [6]byte
	known  bool
	ended  bool
	sent   int
	lost   int
}

type knock struct {
	frame []byte
	sum   bool // the checksum is there
}

// onlyKnocks passes SYNs for to. The sockets of one departure see nothing else.
func onlyKnocks(to netip.AddrPort) ([]bpf.RawInstruction, error) {
	var p []bpf.Instruction
	var refuse []int // jumps to be pointed at the end
	must := func(ins bpf.Instruction, mask, val uint32) {
		p = append(p, ins)
		if mask != 0 {
			p = append(p, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
		}
		refuse = append(refuse, len(p))
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: val})
	}
	a := to.Addr().AsSlice()
	word := func(i int) uint32 {
		return uint32(a[i])<<24 | uint32(a[i+1])<<16 | uint32(a[i+2])<<8 | uint32(a[i+3])
	}
	if to.Addr().Is4() {
		must(bpf.LoadAbsolute{Off: 14 + 9, Size: 1}, 0, protoTCP)
		must(bpf.LoadAbsolute{Off: 14 + 6, Size: 2}, 0x3fff, 0) // no fragment
		must(bpf.LoadAbsolute{Off: 14 + 16, Size: 4}, 0, word(0))
		p = append(p, bpf.LoadMemShift{Off: 14})
		must(bpf.LoadIndirect{Off: 14 + 2, Size: 2}, 0, uint32(to.Port()))
		must(bpf.LoadIndirect{Off: 14 + 13, Size: 1}, 0x12, 2)
	} else {
		must(bpf.LoadAbsolute{Off: 14 + 6, Size: 1}, 0, protoTCP)
		for i := 0; i < 16; i += 4 {
			must(bpf.LoadAbsolute{Off: uint32(14 + 24 + i), Size: 4}, 0, word(i))
		}
		must(bpf.LoadAbsolute{Off: 14 + 40 + 2, Size: 2}, 0, uint32(to.Port()))
		must(bpf.LoadAbsolute{Off: 14 + 40 + 13, Size: 1}, 0x12, 2)
	}
	p = append(p, bpf.RetConstant{Val: maxKnock}, bpf.RetConstant{Val: 0})
	for _, i := range refuse {
		j := p[i].(bpf.JumpIf)
		j.SkipTrue = uint8(len(p) - 1 - i - 1)
		p[i] = j
	}
	return bpf.Assemble(p)
}

// depart begins to keep what knocks at to.
func depart(to netip.AddrPort, from nic, log *slog.Logger) (*departure, error) {
	filter, err := onlyKnocks(to)
	if err != nil {
		return nil, fmt.Errorf("vip linux: filter for %s: %w", to, err)
	}
	proto := uint16(unix.ETH_P_IP)
	if to.Addr().Is6() {
		proto = unix.ETH_P_IPV6
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("vip linux: keep connections to %s: %w", to, err)
	}
	prog := make([]unix.SockFilter, len(filter))
	for i, f := range filter {
		prog[i] = unix.SockFilter{Code: f.Op, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto<<8 | proto>>8, Ifindex: from.index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("vip linux: keep connections to %s: %w", to, err)
	}
	w, err := newWaker()
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &departure{to: to, from: from, log: log, fd: fd, wake: w}, nil
}

// heard is told of the successor.
func (p *departure) heard(mac net.HardwareAddr) {
	if len(mac) != 6 {
		return
	}
	p.mu.Lock()
	p.dst, p.known = [6]byte(mac), true
	p.mu.Unlock()
	p.wake.wake()
}

// end makes run return.
func (p *departure) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.wake.wake()
}

// run keeps and forwards until end, or until long after the address went.
func (p *departure) run() {
	deadline := time.Now().Add(departureLimit)
	defer func() {
		_ = unix.Close(p.fd)
		p.wake.close()
		if p.sent > 0 || p.lost > 0 {
			p.log.Info("connection attempts went to the successor", slog.String("vip", p.to.Addr().String()), slog.Int("sent", p.sent), slog.Int("lost", p.lost))
		}
	}()
	buf, oob := make([]byte, maxKnock), make([]byte, 128)
	for {
		left := time.Until(deadline)
		p.mu.Lock()
		ended := p.ended
		p.mu.Unlock()
		if ended || left <= 0 {
			return
		}
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}, {Fd: int32(p.wake.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			p.log.Warn("connection attempts at an address on its way are lost", slog.Any("err", err))
			return
		}
		p.wake.reset()
		for {
			n, oobn, _, _, err := unix.Recvmsg(p.fd, buf, oob, unix.MSG_DONTWAIT)
			if err != nil {
				break // empty, or the interface went down: then nothing comes
			}
			if len(p.knocks) < MaxKnocks {
				p.knocks = append(p.knocks, knock{slices.Clone(buf[:n]), summed(oob[:oobn])})
			} else {
				p.lost++
			}
		}
		p.forward()
	}
}

func (p *departure) forward() {
	p.mu.Lock()
	dst, known := p.dst, p.known
	p.mu.Unlock()
	if !known {
		return
	}
	for _, k := range p.knocks {
		b, err := redirect(k.frame, p.to, [6]byte(p.from.mac), dst, k.sum)
		if err == nil {
			err = unix.Sendto(p.fd, b, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{Ifindex: p.from.index})
		}
		if err != nil {
			p.lost++
			continue
		}
		p.sent++
	}
	p.knocks = p.knocks[:0]
}

// summed reports whether a received frame has its checksum.
func summed(oob []byte) bool {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return true
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 4 {
			status := binary.NativeEndian.Uint32(m.Data)
			return status&unix.TP_STATUS_CSUMNOTREADY == 0
		}
	}
	return true
}

// Steer stops taking new connections without refusing them, keeps them for the
// successor, and lets what runs come to its end. The manager then releases the
// address and gives it away.
func (d *Driver) Steer(ctx context.Context, addr netip.Addr) error {
	l := d.find(addr)
	if l == nil {
		return fmt.Errorf("vip linux: hand %s over: it is not held", addr)
	}
	n, _, err := d.nics.place(addr)
	if err != nil {
		return err
	}
	to := netip.AddrPortFrom(addr, d.cfg.Port)
	p, err := depart(to, n, d.log)
	if err != nil {
		return err
	}
	d.mu.Lock()
	if d.closed || d.leaving[addr] != nil {
		d.mu.Unlock()
		_ = unix.Close(p.fd)
		p.wake.close()
		return fmt.Errorf("vip linux: hand %s over: %w", addr, ErrClosed)
	}
	d.leaving[addr] = p
	d.mu.Unlock()
	d.wg.Go(func() {
		p.run()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.leaving[addr] == p {
			delete(d.leaving, addr)
		}
	})
	if err := l.deaf(true); err != nil {
		p.end()
		return err
	}
	return d.quiet(ctx, l, to)
}

// stay ends a departure: the address is this node's, or will be.
func (d *Driver) stay(addr netip.Addr) {
	d.mu.Lock()
	p, l := d.leaving[addr], d.held[addr]
	delete(d.leaving, addr)
	d.mu.Unlock()
	if d.cfg.Stay != nil {
		d.cfg.Stay(addr)
	}
	if p == nil {
		return
	}
	p.end()
	if l != nil {
		if err := l.deaf(false); err != nil {
			d.log.Debug("the listener is gone already", slog.Any("err", err))
		}
	}
}

// deaf makes the kernel pass over SYNs at the listener, in silence: no reset, and
// the rest of a handshake that has begun still counts.
func (l *listener) deaf(on bool) error {
	err := l.control(func(fd int) error {
		if !on {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		}
		// Seen from the TCP header on: its flags are byte 13.
		prog := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
			{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: 2},
			{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 18},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		}
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
	})
	if err != nil {
		return fmt.Errorf("vip linux: new connections to %s: %w", l.addr, err)
	}
	return nil
}
