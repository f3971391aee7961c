package rudp

import (
	"bytes"
	"encoding/hex"
	"go/build"
	"slices"
	"testing"

	"rain/ring"
)

func seedPackets() []packet {
	return []packet{
		{flags: flagAck, cum: 3},
		{flags: flagAck, cum: 3, words: 2, bits: [ackWords]uint64{0, 5}},
		{flags: flagPing, ping: 9},
		{flags: flagPong | flagAck, pong: 9, cum: 1},
		{flags: flagLive, live: 77},
		{flags: flagAll, cum: 1, words: 8, bits: [ackWords]uint64{7: 1}, ping: 1, pong: 2, live: 3, seq: 5, frag: 1, count: 4, payload: []byte("rain")},
		{flags: flagLive | flagData, seq: 0, count: 1},
	}
}

func FuzzPacket(f *testing.F) {
	for _, p := range seedPackets() {
		f.Add(p.appendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p packet
		if p.parse(b) != nil {
			return
		}
		if got := p.appendTo(nil); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}

// FuzzConn feeds a Conn with packets of a liar that holds the key.
func FuzzConn(f *testing.F) {
	var all []byte
	for _, p := range seedPackets() {
		b := p.appendTo(nil)
		all = append(append(all, byte(len(b))), b...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		now := ring.Instant(ms)
		c, err := New(DefaultConfig(), now)
		if err != nil {
			t.Fatal(err)
		}
		c.Send(now, 1, make([]byte, 5000))
		verdicts := 0
		for len(b) > 0 && verdicts < 1000 {
			n := min(int(b[0])+1, len(b))
			eff, _ := c.Receive(now, 0, b[1:n])
			verdicts += len(eff.Verdicts)
			for _, d := range eff.Send {
				var p packet
				if err := p.parse(d.Packet); err != nil {
					t.Fatalf("the Conn made a packet %x that it would not take", d.Packet)
				}
			}
			now += ms
			eff = c.Tick(now)
			verdicts += len(eff.Verdicts)
			b = b[n:]
		}
		if verdicts > 1 {
			t.Fatalf("%d verdicts on one message", verdicts)
		}
		if o := &c.out; o.flying < 0 || o.missing < 0 || o.base > o.next || o.next > o.end {
			t.Fatalf("flying %d, missing %d, base %d, next %d, end %d", o.flying, o.missing, o.base, o.next, o.end)
		}
	})
}

func TestPacketRefusesMoreThanItWrites(t *testing.T) {
	for _, p := range seedPackets() {
		b := p.appendTo(nil)
		var q packet
		if err := q.parse(b); err != nil {
			t.Errorf("%x: %v", b, err)
		}
		if len(p.appendTo(nil)) > Overhead+len(p.payload) {
			t.Errorf("%x: longer than Overhead says", b)
		}
		if !p.has(flagData) && q.parse(append(b, 0)) == nil {
			t.Errorf("%x with a byte too many was accepted", b)
		}
		if q.parse(b[:len(b)-len(p.payload)-1]) == nil {
			t.Errorf("%x without its end was accepted", b)
		}
	}
}

// The bytes on the wire must never change under one version of the seal.
func TestGolden(t *testing.T) {
	p := packet{flags: flagAll, cum: 2, words: 1, bits: [ackWords]uint64{9}, ping: 3, pong: 4, live: 5, seq: 7, frag: 1, count: 2, payload: []byte("rain")}
	const want = "1f" + "0000000000000002" + "01" + "0000000000000009" + "0000000000000003" + "0000000000000004" +
		"0000000000000005" + "0000000000000007" + "0001" + "0002" + "7261696e"
	if got := hex.EncodeToString(p.appendTo(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCoreStaysPure(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net", "net/netip", "os", "log", "log/slog", "sync", "math/rand", "math/rand/v2", "crypto/rand"} {
		if slices.Contains(pkg.Imports, bad) {
			t.Errorf("the core imports %q and can no longer run in the simulator", bad)
		}
	}
}
