package store

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// serviceCare is the bulk service of orders to a node's store: length u32 | JSON
// of a CareOrder; the answer is length u32 | JSON of a CareReport.
const serviceCare = "store.care"

const (
	maxCareOrder  = 4 << 10
	maxCareReport = 1 << 20
)

// appendFrame writes v behind its length.
func appendFrame(b []byte, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("store: care: %w", err)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(body))), body...), nil
}

// readFrame reads what appendFrame wrote, of up to most bytes.
func readFrame(r io.Reader, most int, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || int64(n) > int64(most) {
		return fmt.Errorf("store: care: message of %d bytes: %w", n, errWire)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("store: care: %w: %w", errWire, err)
	}
	return nil
}

// parseSum reads a body's name in hex.
func parseSum(s string) (sum catalog.Sum, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(sum) {
		return sum, fmt.Errorf("store: %.80q is no body's name: %w", s, errWire)
	}
	copy(sum[:], b)
	return sum, nil
}

// askCare gives an order to a member.
func (s *Store) askCare(ctx context.Context, peer ring.NodeID, o CareOrder) (r CareReport, err error) {
	msg, err := appendFrame(nil, o)
	if err != nil {
		return r, err
	}
	wait := careTime
	if o.Do == CareGC {
		wait *= 6
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = s.call(ctx, peer, serviceCare, func(conn net.Conn) error {
		c, release := guardConn(ctx, conn, wait)
		defer release()
		if _, err := c.Write(msg); err != nil {
			return err
		}
		r = CareReport{}
		return readFrame(c, maxCareReport, &r)
	})
	if err != nil {
		return CareReport{}, fmt.Errorf("store: %s did not answer: %w", peer, err)
	}
	return r, nil
}

func (s *Store) handleCare(ctx context.Context, _ ring.NodeID, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		var o CareOrder
		if err := readFrame(conn, maxCareOrder, &o); err != nil {
			return // the end of the connection, or not our words
		}
		if o.check() != nil {
			return
		}
		msg, err := appendFrame(nil, s.care(ctx, o))
		if err != nil || len(msg) > maxCareReport {
			return
		}
		if conn.SetWriteDeadline(time.Now().Add(careTime)) != nil {
			return
		}
		if _, err := conn.Write(msg); err != nil {
			return
		}
		if conn.SetWriteDeadline(time.Time{}) != nil {
			return
		}
	}
}
