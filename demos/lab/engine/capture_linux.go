package engine

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

// capture writes what a port sends and gets into a pcap file.
type capture struct {
	file *os.File
	w    *bufio.Writer
	left int64 // bytes that it may still grow
	err  error
}

// maxCapture bounds a capture file.
const maxCapture = 1 << 30

func newCapture(path string) (*capture, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab: capture: %w", err)
	}
	c := &capture{file: f, w: bufio.NewWriter(f), left: maxCapture}
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d) // times in nanoseconds
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 4)
	for _, v := range []uint32{0, 0, 65536, 1} { // zone, accuracy, longest frame, Ethernet
		head = binary.LittleEndian.AppendUint32(head, v)
	}
	_, c.err = c.w.Write(head)
	return c, c.err
}

func (c *capture) frame(at time.Time, b []byte) {
	if c.err != nil || c.left < int64(len(b))+16 {
		return
	}
	c.left -= int64(len(b)) + 16
	var head []byte
	for _, v := range []uint32{uint32(at.Unix()), uint32(at.Nanosecond()), uint32(len(b)), uint32(len(b))} {
		head = binary.LittleEndian.AppendUint32(head, v)
	}
	if _, c.err = c.w.Write(head); c.err == nil {
		_, c.err = c.w.Write(b)
	}
}

func (c *capture) close() error {
	if err := c.w.Flush(); c.err == nil {
		c.err = err
	}
	if err := c.file.Close(); c.err == nil {
		c.err = err
	}
	return c.err
}

func (p *pump) capture(port int, now time.Duration, frame []byte) {
	if c := p.taps[port]; c != nil {
		c.frame(p.start.Add(now), frame)
	}
}
