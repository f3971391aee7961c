package bundle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	frameData = 1
	frameAck  = 2
	frameFin  = 3

	dataHead = 1 + 4 + 8
	ackSize  = 1 + 3*8
	finSize  = 1 + 8

	// MaxPiece is how many bytes of the stream travel together at most.
	MaxPiece = 64 << 10
	// maxStream keeps sums of offsets far from overflow.
	maxStream = 1 << 60
)

// errFrame says that the peer broke the rules of this package.
var errFrame = errors.New("bundle: a frame that no Stream sends; the leg is closed")

// frame is one that came.
type frame struct {
	kind            byte
	off             uint64 // data: offset; fin: end
	data            []byte
	on, next, eaten uint64 // ack
}

func appendData(b []byte, off uint64, data []byte) []byte {
	b = append(b, frameData)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = binary.BigEndian.AppendUint64(b, off)
	return append(b, data...)
}

func appendAck(b []byte, on, next, eaten uint64) []byte {
	b = append(b, frameAck)
	for _, v := range [...]uint64{on, next, eaten} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func appendFin(b []byte, end uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, frameFin), end)
}

// readFrame reads one frame. Its data is the caller's for good.
func readFrame(r *bufio.Reader) (f frame, err error) {
	if f.kind, err = r.ReadByte(); err != nil {
		return f, err
	}
	var b [ackSize]byte
	size := map[byte]int{frameData: dataHead - 1, frameAck: ackSize - 1, frameFin: finSize - 1}[f.kind]
	if size == 0 {
		return f, fmt.Errorf("%w: type %d", errFrame, f.kind)
	}
	if _, err = io.ReadFull(r, b[:size]); err != nil {
		return f, err
	}
	be := binary.BigEndian
	switch f.kind {
	case frameAck:
		f.on, f.next, f.eaten = be.Uint64(b[:]), be.Uint64(b[8:]), be.Uint64(b[16:])
	case frameFin:
		f.off = be.Uint64(b[:])
	case frameData:
		n := be.Uint32(b[:])
		if f.off = be.Uint64(b[4:]); n == 0 || n > MaxPiece {
			return f, fmt.Errorf("%w: a piece of %d bytes", errFrame, n)
		}
		f.data = make([]byte, n)
		_, err = io.ReadFull(r, f.data)
	}
	if f.off > maxStream || f.next > maxStream || f.eaten > f.next {
		return f, fmt.Errorf("%w: offset %d, next %d, read %d", errFrame, f.off, f.next, f.eaten)
	}
	return f, err
}
