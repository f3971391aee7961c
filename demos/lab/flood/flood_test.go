package flood

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"testing"
)

// frame is an Ethernet frame with a UDP datagram.
func frame(port uint16, body []byte) []byte {
	f := make([]byte, ethernet+ipv4Head+udpHead+len(body))
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	f[14], f[23] = 0x45, 17
	binary.BigEndian.PutUint16(f[36:], port)
	binary.BigEndian.PutUint16(f[38:], uint16(udpHead+len(body)))
	copy(f[42:], body)
	return f
}

func file(frames ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcapNanos)
	b = append(b, make([]byte, pcapHead-4)...)
	for _, f := range frames {
		b = append(b, make([]byte, 8)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return b
}

func TestRead(t *testing.T) {
	b := file(frame(7400, []byte("one")), frame(80, []byte("no")), []byte("short"), frame(7400, []byte("two")))
	for _, cut := range []int{0, 5} { // the second time the last frame is not whole
		heard, err := Read(bytes.NewReader(b[:len(b)-cut]), 7400)
		if err != nil || len(heard) != 2-min(cut, 1) || string(heard[0]) != "one" {
			t.Errorf("%q, %v", heard, err)
		}
	}
	if _, err := Read(bytes.NewReader([]byte("no pcap file, but long enough")), 7400); err == nil {
		t.Error("another file was taken")
	}
}

func TestMix(t *testing.T) {
	if _, err := NewMix(nil, 1); err == nil {
		t.Error("nothing was heard, and no error")
	}
	heard := bytes.Repeat([]byte{0xaa}, 200)
	m, err := NewMix([][]byte{heard}, 1)
	if err != nil {
		t.Fatal(err)
	}
	replays, flips := 0, 0
	for range 4000 {
		b := m.Next()
		if len(b) == 0 || len(b) > maxJunk {
			t.Fatalf("%d bytes", len(b))
		}
		if len(b) != len(heard) {
			continue
		}
		differ := 0
		for i := range b {
			differ += bits.OnesCount8(b[i] ^ heard[i])
		}
		switch differ {
		case 0:
			replays++
		case 1:
			flips++
		}
	}
	for i, n := range m.Sent {
		if n < 800 {
			t.Errorf("%d %s of 4000", n, Kinds[i])
		}
	}
	if uint64(replays) < m.Sent[3] || uint64(flips) < m.Sent[2] {
		t.Errorf("%d replays and %d flips came out, %v", replays, flips, m.Sent)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(frame(7400, []byte("x"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		heard, err := Read(bytes.NewReader(b), 7400)
		if err != nil {
			return
		}
		for _, h := range heard {
			if len(h) == 0 || len(h) > len(b) {
				t.Errorf("%d bytes of a file of %d", len(h), len(b))
			}
		}
	})
}
