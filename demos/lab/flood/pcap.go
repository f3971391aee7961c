package flood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxHeard bounds how many datagrams of a file are kept: the last ones.
	MaxHeard = 4096

	pcapNanos = 0xa1b23c4d // as 'lab capture' writes it
	pcapHead  = 24
	frameHead = 16
	maxFrame  = 65536
	ethernet  = 14
	ipv4Head  = 20
	udpHead   = 8
	headerEnd = 56 // of a sealed datagram: what is known without the key
)

// Read returns the UDP payloads to a port that a pcap file holds. A file that ends
// in the middle of a frame, being written still, is good up to there.
func Read(r io.Reader, port uint16) (heard [][]byte, err error) {
	var head [pcapHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("flood: pcap header: %w", err)
	}
	if binary.LittleEndian.Uint32(head[:]) != pcapNanos {
		return nil, errors.New("flood: not a file of 'lab capture'")
	}
	for {
		var fh [frameHead]byte
		if _, err := io.ReadFull(r, fh[:]); err != nil {
			return heard, ended(err)
		}
		n := binary.LittleEndian.Uint32(fh[8:])
		if n > maxFrame {
			return nil, fmt.Errorf("flood: a frame of %d bytes", n)
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(r, frame); err != nil {
			return heard, ended(err)
		}
		if p, ok := payload(frame, port); ok {
			if len(heard) == MaxHeard {
				heard = heard[1:]
			}
			heard = append(heard, p)
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("flood: pcap: %w", err)
}

// payload is what a frame carries to a UDP port.
func payload(f []byte, port uint16) ([]byte, bool) {
	be := binary.BigEndian
	if len(f) < ethernet+ipv4Head+udpHead || be.Uint16(f[12:]) != 0x0800 || f[14] != 0x45 || f[23] != 17 || be.Uint16(f[20:])&0x3fff != 0 {
		return nil, false
	}
	u := f[ethernet+ipv4Head:]
	n := int(be.Uint16(u[4:]))
	if be.Uint16(u[2:]) != port || n <= udpHead || n > len(u) {
		return nil, false
	}
	return u[udpHead:n], true
}
