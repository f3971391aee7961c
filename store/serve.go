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
	"rain/store/array"
	"rain/store/catalog"
	"rain/store/symbol"
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
		case kindColumn:
			return s.serveColumn(c, r)
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

// serveColumn takes a column of a striped body.
func (s *Store) serveColumn(c *stallConn, r request) error {
	var b [stripeHeadLen]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	h, err := parseStripeHead(b[:])
	if err != nil {
		return err
	}
	size := int64(0)
	if r.size != unknownSize {
		size = int64(r.size)
	}
	if r.sum != (catalog.Sum{}) && size > 0 && s.presentColumn(r.sum, array.Layout{Geometry: h.code, Size: size}) {
		return answer(c, statusHave)
	}
	if err := s.disk.room(size / int64(h.code.K)); err != nil {
		return answer(c, s.statusOf(err))
	}
	w := &columnWriter{s: s, code: h.code, column: h.column}
	defer w.discard()
	if err := answer(c, statusGo); err != nil {
		return err
	}
	end, err := s.readColumn(c.within(streamIdle), c, w)
	if err != nil {
		return err
	}
	return answer(c, s.statusOf(w.commit(end)))
}

// readColumn brings a column's units to w and holds each to its checksum. heads
// and c are one connection; on heads the other end may take its time.
func (s *Store) readColumn(heads, c io.Reader, w *columnWriter) (columnEnd, error) {
	var head [4]byte
	most := s.cfg.MaxObject/w.code.Block() + 1
	for {
		if _, err := io.ReadFull(heads, head[:]); err != nil {
			return columnEnd{}, err
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 {
			return readColumnEnd(c)
		}
		if int64(n) > int64(w.code.Unit) || w.blocks >= most {
			return columnEnd{}, fmt.Errorf("store: unit of %d bytes after %d: %w", n, w.blocks, errWire)
		}
		unit, err := w.room(int(n))
		if err != nil {
			return columnEnd{}, err
		}
		if _, err := io.ReadFull(c, unit); err != nil {
			return columnEnd{}, err
		}
		if symbol.Checksum(unit[:n], w.column, w.blocks) != binary.BigEndian.Uint32(unit[n:]) {
			return columnEnd{}, fmt.Errorf("store: unit %d of a column: %w", w.blocks, errDamaged)
		}
		if err := w.wrote(int(n)); err != nil {
			return columnEnd{}, err
		}
	}
}

func (s *Store) handleGet(ctx context.Context, peer ring.NodeID, conn net.Conn) {
	s.serveRequests(ctx, peer, conn, func(c *stallConn, r request) error {
		switch r.kind {
		case kindGet:
			return s.serveGet(c, r.sum)
		case kindUnits:
			return s.serveUnits(c, r)
		}
		return fmt.Errorf("store: kind %d at service %s: %w", r.kind, serviceGet, errWire)
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
		// A piece with some bad units still gives its good ones.
		list, n, _ := s.bodies.lacks(maxLacks+1, func(_ piece, here bool) bool { return !here })
		if len(list) <= maxLacks {
			n = len(list)
		}
		msg := binary.BigEndian.AppendUint32(nil, uint32(min(n, math.MaxUint32)))
		for _, p := range list[:min(len(list), maxLacks)] {
			msg = append(msg, p.name[:]...)
		}
		_, err := c.Write(msg)
		return err
	})
}
