package linux

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"rain/vip/table"
)

// TestForeignClaim: who claims a held address is contradicted.
func TestForeignClaim(t *testing.T) {
	if !private(t) {
		return
	}
	d := newTestDriver(t)
	d.Renew(bootTime().Add(time.Minute))
	if _, err := d.Acquire(t.Context(), addressOf(vip4, 24)); err != nil {
		t.Fatal(err)
	}
	peer, err := net.InterfaceByName("v1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := packet.Listen(peer, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own, err := net.InterfaceByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	heard := func() bool { // an announcement by the driver
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return false
		}
		a, mac, ok := claimant(buf[:n])
		return ok && a == vip4 && mac.String() == own.HardwareAddr.String()
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the holder announces the address", heard)
	time.Sleep(2500 * time.Millisecond) // until it has said it often enough
	for c.SetReadDeadline(time.Now().Add(10*time.Millisecond)) == nil {
		if _, _, err := c.ReadFrom(buf); err != nil {
			break
		}
	}
	frames, err := announcements(vip4, peer.HardwareAddr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo(frames[0], &packet.Addr{HardwareAddr: frames[0][:6]}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil { // the refresh comes after 10 s
		t.Fatal(err)
	}
	eventually(t, "the holder contradicts", heard)
}

// TestHandOverKnocks: what knocks while the address is on its way is refused by
// nobody and arrives at the successor's hardware address.
func TestHandOverKnocks(t *testing.T) {
	if !private(t) {
		return
	}
	for _, a := range []table.Address{addressOf(vip4, 24), addressOf(vip6, 64)} {
		handOverKnocks(t, a)
	}
}

func handOverKnocks(t *testing.T, a table.Address) {
	d := newTestDriver(t)
	defer d.Close()
	vip := a.Addr()
	d.Renew(bootTime().Add(time.Minute))
	ln, err := d.Acquire(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	go echo(ln)
	peer, err := net.InterfaceByName("v1")
	if err != nil {
		t.Fatal(err)
	}
	own, err := net.InterfaceByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Steer(t.Context(), vip); err != nil {
		t.Fatal(err)
	}
	c, err := packet.Listen(peer, packet.Raw, map[bool]int{true: unix.ETH_P_IP, false: unix.ETH_P_IPV6}[vip.Is4()], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to := netip.AddrPortFrom(vip, 8080)
	b := syn(to)
	copy(b, own.HardwareAddr)
	copy(b[6:], peer.HardwareAddr)
	for range 3 {
		if _, err := c.WriteTo(b, &packet.Addr{HardwareAddr: own.HardwareAddr}); err != nil {
			t.Fatal(err)
		}
	}
	d.Release(vip)
	if on(t, vip) != nil {
		t.Fatal("the address is still there")
	}
	successor := net.HardwareAddr{2, 7, 7, 7, 7, 7}
	frames, err := announcements(vip, successor)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if _, err := c.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	for got := 0; got < 3; {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatalf("%d of 3 came: %v", got, err)
		}
		if again, err := redirect(buf[:n], to, [6]byte(own.HardwareAddr), [6]byte(successor), true); err == nil && string(again) == string(buf[:n]) {
			got++
		}
	}
}
