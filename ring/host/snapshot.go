package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"rain/ring"
	"rain/ring/host/disk"
)

// SnapshotService is the bulk service by which nodes give their state to a
// joiner. Answer, big-endian: header length u32 | ring.AppendHeader | for each
// rider: id u8, length u64, its bytes | 0 u8. A header length of 0: not now.
const SnapshotService = "ring.snapshot"

const (
	maxHeader       = 64 << 10
	snapshotTimeout = 55 * time.Second
)

func snapshotBytes(r ring.Rider) ([]byte, error) {
	var b bytes.Buffer
	err := r.Snapshot(&b)
	return b.Bytes(), err
}

// snapshot is all riders as they are; with the turn only.
func (n *Node) snapshot() ([]byte, error) {
	var b bytes.Buffer
	for _, r := range n.riders {
		p, err := snapshotBytes(r.Rider)
		if err != nil {
			return nil, fmt.Errorf("rider %d: %w", r.ID, err)
		}
		b.WriteByte(byte(r.ID))
		b.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		b.Write(p)
	}
	b.WriteByte(0)
	return b.Bytes(), nil
}

// restore puts all riders into the state that snapshot wrote; nil: empty.
func (n *Node) restore(src io.Reader) error {
	rest := map[ring.RiderID]bool{}
	for _, r := range n.riders {
		rest[r.ID] = true
	}
	for src != nil {
		var head [9]byte
		if _, err := io.ReadFull(src, head[:1]); err != nil {
			return fmt.Errorf("host: riders' snapshot: %w", err)
		}
		if head[0] == 0 {
			break
		}
		if _, err := io.ReadFull(src, head[1:]); err != nil {
			return fmt.Errorf("host: riders' snapshot: %w", err)
		}
		part := io.LimitReader(src, int64(binary.BigEndian.Uint64(head[1:])&(1<<62-1)))
		for _, r := range n.riders {
			if byte(r.ID) == head[0] {
				if err := r.Rider.Restore(part); err != nil {
					return fmt.Errorf("host: restoring rider %d: %w", r.ID, err)
				}
				delete(rest, r.ID)
			}
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return fmt.Errorf("host: riders' snapshot: %w", err)
		}
	}
	for _, r := range n.riders {
		if rest[r.ID] {
			if err := r.Rider.Restore(bytes.NewReader(n.blank[r.ID])); err != nil {
				return fmt.Errorf("host: emptying rider %d: %w", r.ID, err)
			}
		}
	}
	return nil
}

func (n *Node) restoreFromDisk(rec ring.Disk) error {
	if rec.Header.Index == 0 {
		return n.restore(nil)
	}
	src, _, err := n.disk.SnapshotReader()
	if err != nil {
		return err
	}
	return errors.Join(n.restore(src), src.Close())
}

func (n *Node) restoreFetched() error {
	src, _, err := n.disk.FetchedReader()
	if err != nil {
		return err
	}
	return errors.Join(n.restore(src), src.Close())
}

// ServeSnapshot is the handler of SnapshotService.
func (n *Node) ServeSnapshot(ctx context.Context, _ ring.NodeID, conn net.Conn) {
	var header ring.SnapshotHeader
	var data []byte
	ok := false
	n.do(ctx, func() {
		if n.m == nil {
			return
		}
		var err error
		if header, ok = n.m.Header(); ok {
			data, err = n.snapshot()
			ok = err == nil
		}
	})
	if err := conn.SetDeadline(time.Now().Add(snapshotTimeout)); err != nil {
		return
	}
	var head []byte
	if ok {
		head = ring.AppendHeader(nil, header)
	}
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(head))), head...)
	if _, err := conn.Write(append(out, data...)); err != nil {
		n.log.Debug("giving a snapshot", "err", err)
	}
}

// fetchState is the one snapshot transfer under way.
type fetchState struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (f *fetchState) drop() {
	if f.cancel != nil {
		f.cancel()
		f.cancel = nil
	}
	f.wg.Wait()
}

func (f *fetchState) wait() { f.drop() }

// fetch gets a snapshot in the background.
func (n *Node) fetch(from ring.Member) {
	n.fetched.drop()
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTimeout)
	n.fetched.cancel = cancel
	life := n.life.Load()
	n.fetched.wg.Go(func() {
		defer cancel()
		header, err := n.fetchSnapshot(ctx, from.ID)
		if err != nil {
			n.log.Info("fetching a snapshot", "from", from.String(), "err", err)
		}
		n.mail.put(func() {
			if n.life.Load() == life {
				n.step(ring.Fetched{From: from, Err: err != nil, Header: header})
			}
		})
	})
}

func (n *Node) fetchSnapshot(ctx context.Context, from ring.NodeID) (h ring.SnapshotHeader, err error) {
	conn, err := n.bulk.Dial(ctx, from, SnapshotService)
	if err != nil {
		return h, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // wakes a blocked read
	defer stop()
	return n.receiveSnapshot(conn)
}

// errNoSnapshot says that the other node has none to give now.
var errNoSnapshot = errors.New("host: the other node gives no snapshot now")

func (n *Node) receiveSnapshot(conn io.Reader) (h ring.SnapshotHeader, err error) {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return h, err
	}
	length := binary.BigEndian.Uint32(size[:])
	if length == 0 {
		return h, errNoSnapshot
	}
	if length > maxHeader {
		return h, fmt.Errorf("host: snapshot header of %d bytes", length)
	}
	head := make([]byte, length)
	if _, err := io.ReadFull(conn, head); err != nil {
		return h, err
	}
	if h, err = ring.ParseHeader(head); err != nil {
		return h, err
	}
	w, err := n.disk.NewSnapshot()
	if err != nil {
		return h, err
	}
	if err := copyRiders(w, conn); err != nil {
		w.Abort()
		return h, err
	}
	return h, w.Commit(h)
}

// copyRiders copies the riders' parts up to their end mark, and no byte more.
func copyRiders(w *disk.SnapshotWriter, src io.Reader) error {
	for {
		var head [9]byte
		if _, err := io.ReadFull(src, head[:1]); err != nil {
			return err
		}
		if head[0] == 0 {
			_, err := w.Write(head[:1])
			return err
		}
		if _, err := io.ReadFull(src, head[1:]); err != nil {
			return err
		}
		if _, err := w.Write(head[:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint64(head[1:])
		if size > disk.MaxSnapshot {
			return fmt.Errorf("host: a rider's snapshot of %d bytes", size)
		}
		if _, err := io.CopyN(w, src, int64(size)); err != nil {
			return err
		}
	}
}
