package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"

	"rain/ring"
	"rain/store/catalog"
)

// serveRequests answers one request after the other until the connection ends
// or a handler fails; then the other end must dial anew.
func (s *Store) serveRequests(ctx context.Context, peer ring.NodeID, conn net.Conn, kinds func(*stallConn, request) error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	head := make([]byte, requestLen)
	for {
		// A kept connection may rest for as long as its owner likes.
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		r, err := parseRequest(head)
		if err == nil {
			c, release := guardConn(ctx, conn, patience*s.cfg.PeerStall)
			err = kinds(c, r)
			release()
		}
		if err != nil {
			s.log.LogAttrs(ctx, slog.LevelDebug, "request of a member ended early",
				slog.String("peer", peer.String()), slog.Any("error", err))
			return
		}
	}
}

func (s *Store) handlePut(ctx context.Context, peer ring.NodeID, conn net.Conn) {
	s.serveRequests(ctx, peer, conn, func(c *stallConn, r request) error {
		switch r.kind {
		case kindSmall:
			return s.serveSmall(c, r)
		case kindStream:
			return s.serveStream(c, r)
		}
		return fmt.Errorf("store: kind %d at service %s: %w", r.kind, servicePut, errWire)
	})
}

// answer sends a status; a nil error keeps the connection.
func answer(c *stallConn, st status) error {
	_, err := c.Write([]byte{byte(st)})
	return err
}

// statusOf tells the other member how a save went.
func (s *Store) statusOf(err error) status {
	switch {
	case err == nil:
		return statusStored
	case errors.Is(err, ErrNoSpace):
		return statusNoSpace
	}
	s.log.Warn("body of a member not saved", slog.Any("error", err))
	return statusFailed
}

func (s *Store) serveSmall(c *stallConn, r request) error {
	body := make([]byte, r.size)
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	if sha256.Sum256(body) != r.sum {
		return answer(c, statusBadHash)
	}
	err := s.disk.room(int64(len(body)))
	if err == nil {
		err = s.saveBytes(r.sum, body)
	}
	return answer(c, s.statusOf(err))
}

func (s *Store) serveStream(c *stallConn, r request) error {
	want := int64(-1)
	if r.size != unknownSize {
		want = int64(r.size)
	}
	if r.sum != (catalog.Sum{}) && want >= 0 && s.present(r.sum, want) {
		return answer(c, statusHave)
	}
	if err := s.disk.room(want); err != nil {
		return answer(c, s.statusOf(err))
	}
	t, err := s.disk.temp()
	if err != nil {
		return answer(c, s.statusOf(err))
	}
	defer s.disk.discard(t)
	if err := answer(c, statusGo); err != nil {
		return err
	}
	sum, n, err := s.readFrames(c.within(streamIdle), c, t, want)
	if err != nil {
		return err
	}
	if r.sum != (catalog.Sum{}) && r.sum != sum {
		return answer(c, statusBadHash)
	}
	return answer(c, s.statusOf(s.saveTemp(t, sum, n)))
}

// readFrames writes a stream's body to w and holds it to the hash at its end.
// heads and c are one connection; on heads the other end may take its time.
func (s *Store) readFrames(heads, c io.Reader, w io.Writer, want int64) (sum catalog.Sum, n int64, err error) {
	h := sha256.New()
	buf := make([]byte, chunkSize)
	for {
		if _, err := io.ReadFull(heads, buf[:4]); err != nil {
			return sum, n, err
		}
		size := binary.BigEndian.Uint32(buf)
		if size == 0 {
			break
		}
		n += int64(size)
		if size > chunkSize || n > s.cfg.MaxObject || want >= 0 && n > want {
			return sum, n, fmt.Errorf("store: stream of %d bytes and more: %w", n, errWire)
		}
		if _, err := io.ReadFull(c, buf[:size]); err != nil {
			return sum, n, err
		}
		h.Write(buf[:size])
		if _, err := w.Write(buf[:size]); err != nil {
			return sum, n, s.disk.note(err)
		}
	}
	var end catalog.Sum
	if _, err := io.ReadFull(c, end[:]); err != nil {
		return sum, n, err
	}
	h.Sum(sum[:0])
	if end != sum || want >= 0 && n != want {
		return sum, n, fmt.Errorf("store: stream with hash %s, %d bytes: %w", sum, n, errDamaged)
	}
	return sum, n, nil
}

func (s *Store) handleGet(ctx context.Context, peer ring.NodeID, conn net.Conn) {
	s.serveRequests(ctx, peer, conn, func(c *stallConn, r request) error {
		if r.kind != kindGet {
			return fmt.Errorf("store: kind %d at service %s: %w", r.kind, serviceGet, errWire)
		}
		return s.serveGet(c, r.sum)
	})
}

func (s *Store) serveGet(c *stallConn, sum catalog.Sum) error {
	l, size, _ := s.bodies.get(sum)
	if l == nil {
		return answer(c, statusAbsent)
	}
	if size <= smallBody {
		body, err := s.loadSmall(sum, l, size)
		if err != nil {
			return answer(c, statusAbsent)
		}
		msg := binary.BigEndian.AppendUint64([]byte{byte(statusHave)}, uint64(size))
		_, err = c.Write(append(msg, body...))
		return err
	}
	f, err := s.openLocal(sum, l, size)
	if err != nil {
		return answer(c, statusAbsent)
	}
	defer f.Close()
	msg := binary.BigEndian.AppendUint64([]byte{byte(statusHave)}, uint64(size))
	if _, err := c.Write(msg); err != nil {
		return err
	}
	// Hash what goes out: the other end will refuse a damaged body, but only
	// here can the copy be given up.
	h := sha256.New()
	buf := make([]byte, chunkSize)
	for off := int64(0); off < size; {
		n := min(size-off, chunkSize)
		if _, err := f.ReadAt(buf[:n], off); err != nil {
			return s.loseCopy(sum, l, fmt.Errorf("store: read body %s: %w", sum, err))
		}
		h.Write(buf[:n])
		if _, err := c.Write(buf[:n]); err != nil {
			return err
		}
		off += n
	}
	if catalog.Sum(h.Sum(nil)) != sum {
		return s.loseCopy(sum, l, fmt.Errorf("store: body %s: %w", sum, errDamaged))
	}
	s.bodies.setVerified(l)
	return nil
}

func (s *Store) handleLack(ctx context.Context, peer ring.NodeID, conn net.Conn) {
	s.serveRequests(ctx, peer, conn, func(c *stallConn, r request) error {
		if r.kind != kindLack {
			return fmt.Errorf("store: kind %d at service %s: %w", r.kind, serviceLack, errWire)
		}
		list, n, _ := s.bodies.lacks(maxLacks, nil)
		msg := binary.BigEndian.AppendUint32(nil, uint32(min(n, math.MaxUint32)))
		for _, l := range list {
			msg = append(msg, l.sum[:]...)
		}
		_, err := c.Write(msg)
		return err
	})
}
