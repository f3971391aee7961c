package transport

import (
	"encoding/binary"
	"errors"
	"time"

	"rain/ring"
	"rain/ring/host/seal"
	"rain/ring/link"
)

// The body of a sealed datagram, big-endian, by its first byte:
//
//	0x01-0x1f  a packet of rain/ring/rudp
//	0x40       ping: every u16 (ms, how often the sender pings this path), then the link.Ping
//	0x41       relay: to u32, then a whole datagram that the receiver passes on to that node
//	0x42       relayed: a whole datagram that a neighbour was asked to pass on to the receiver
//	0x43       table: no u64 (rises), then for each peer of the sender id u32, up u8, paths u8
//
// A relayed datagram may hold a hello or a packet and nothing else: so nothing
// is relayed twice.
const (
	kindRudp    = 0x20 // all below
	kindPing    = 0x40
	kindRelay   = 0x41
	kindRelayed = 0x42
	kindTable   = 0x43

	pingFrame = 1 + 2 + link.PingSize
	tableHead = 1 + 8
	tableRow  = 4 + 1 + 1
	// maxTable is how many peers a table has at most; sendTable of them fit
	// SafeDatagram.
	maxTable  = 200
	sendTable = (SafeDatagram - seal.Overhead - tableHead) / tableRow
	relayMin  = 1 + 4
)

var errFrame = errors.New("transport: malformed frame; drop it")

func appendPing(b []byte, every time.Duration, p link.Ping) []byte {
	b = append(b, kindPing)
	b = binary.BigEndian.AppendUint16(b, uint16(min(every.Milliseconds(), 0xffff)))
	return p.Append(b)
}

func parsePing(b []byte) (every time.Duration, p link.Ping, err error) {
	if len(b) != pingFrame || b[0] != kindPing {
		return 0, p, errFrame
	}
	p, err = link.ParsePing(b[3:])
	return time.Duration(binary.BigEndian.Uint16(b[1:])) * time.Millisecond, p, err
}

// row is what a node says of one of its peers: so many of so many paths are Up.
type row struct {
	id        ring.NodeID
	up, paths uint8
}

func appendTable(b []byte, no uint64, rows []row) []byte {
	b = append(b, kindTable)
	b = binary.BigEndian.AppendUint64(b, no)
	for _, r := range rows[:min(len(rows), sendTable)] {
		b = binary.BigEndian.AppendUint32(b, uint32(r.id))
		b = append(b, r.up, r.paths)
	}
	return b
}

func parseTable(b []byte) (no uint64, rows []row, err error) {
	if len(b) < tableHead || b[0] != kindTable || (len(b)-tableHead)%tableRow != 0 {
		return 0, nil, errFrame
	}
	no = binary.BigEndian.Uint64(b[1:])
	b = b[tableHead:]
	if len(b)/tableRow > maxTable {
		return 0, nil, errFrame
	}
	rows = make([]row, 0, len(b)/tableRow)
	for ; len(b) > 0; b = b[tableRow:] {
		r := row{id: ring.NodeID(binary.BigEndian.Uint32(b)), up: b[4], paths: b[5]}
		if r.id == 0 || r.up > r.paths {
			return 0, nil, errFrame
		}
		rows = append(rows, r)
	}
	return no, rows, nil
}

func parseRelay(b []byte) (to ring.NodeID, inner []byte, err error) {
	if len(b) <= relayMin || b[0] != kindRelay {
		return 0, nil, errFrame
	}
	return ring.NodeID(binary.BigEndian.Uint32(b[1:])), b[relayMin:], nil
}
