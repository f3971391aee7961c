package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// call is Peers.Call, tried again when a kept connection turns out to be dead:
// all requests may be repeated.
func (s *Store) call(ctx context.Context, peer ring.NodeID, service string, f func(net.Conn) error) error {
	var err error
	for range 3 {
		err = s.peers.Call(ctx, peer, service, f)
		if err == nil || ctx.Err() != nil || !broken(err) {
			break
		}
	}
	return err
}

// broken reports whether the other end had closed the connection.
func broken(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pacer spreads bytes over time; a rate of 0 does not.
type pacer struct {
	rate int64
	mu   sync.Mutex
	next time.Time
}

// wait returns when n more bytes are due.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p == nil || p.rate <= 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if !due.After(now) {
		return ctx.Err()
	}
	t := time.NewTimer(due.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// flight is a fetch that others wait for.
type flight struct {
	done chan struct{}
	err  error
}

// fetch brings a body from another member to this node. Concurrent fetches of
// one body share one.
func (s *Store) fetch(ctx context.Context, sum catalog.Sum, size int64, p *pacer) error {
	for {
		s.flightMu.Lock()
		fl := s.flights[sum]
		if fl == nil {
			fl = &flight{done: make(chan struct{})}
			s.flights[sum] = fl
			s.flightMu.Unlock()
			fl.err = s.fetchAny(ctx, sum, size, p)
			s.flightMu.Lock()
			delete(s.flights, sum)
			s.flightMu.Unlock()
			close(fl.done)
			return fl.err
		}
		s.flightMu.Unlock()
		select {
		case <-fl.done:
			// Who led may have gone away: then it is our turn.
			if fl.err == nil || !errors.Is(fl.err, context.Canceled) && !errors.Is(fl.err, context.DeadlineExceeded) {
				return fl.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// fetchAny asks one member after the other. Where it begins depends on the
// body, so that a newcomer's load is spread.
func (s *Store) fetchAny(ctx context.Context, sum catalog.Sum, size int64, p *pacer) error {
	if l, have, _ := s.bodies.get(sum); l != nil && have == size {
		return nil // came meanwhile
	}
	members := s.ring.Members()
	inView := len(members)
	for _, id := range s.storage() { // they may be up nevertheless
		if !slices.Contains(members, id) {
			members = append(slices.Clip(members), id)
		}
	}
	var errs []error
	for i := range members {
		peer := members[i]
		if i < inView {
			peer = members[(i+int(binary.BigEndian.Uint32(sum[:])%uint32(inView)))%inView]
		}
		if peer == s.ring.Self() {
			continue
		}
		err := s.call(ctx, peer, serviceGet, func(conn net.Conn) error { return s.fetchOn(ctx, conn, sum, size, p) })
		if err == nil {
			s.repaired.Add(size)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("store: fetch body %s: %w", sum, context.Cause(ctx))
		}
		if errors.Is(err, ErrNoSpace) {
			return err // ours: the next member cannot help
		}
		errs = append(errs, fmt.Errorf("%s: %w", peer, err))
	}
	return fmt.Errorf("store: body %s is not on this node and no other of %d nodes gave it; bring back one that has it: %w: %w",
		sum, len(members), ErrUnavailable, errors.Join(errs...))
}

func (s *Store) fetchOn(ctx context.Context, conn net.Conn, sum catalog.Sum, size int64, p *pacer) error {
	c, release := guardConn(ctx, conn, s.cfg.PeerStall)
	defer release()
	if _, err := c.Write(request{kind: kindGet, sum: sum}.append(nil)); err != nil {
		return err
	}
	st, err := c.readStatus(s.cfg.PeerStall)
	if err != nil {
		return err
	}
	if st != statusHave {
		return statusError(st)
	}
	var b [8]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint64(b[:]); got != uint64(size) {
		return fmt.Errorf("store: body %s: the member has %d bytes, the catalog says %d: %w", sum, got, size, errDamaged)
	}
	if size <= smallBody {
		return s.fetchSmall(c, sum, size)
	}
	if err := s.disk.room(size); err != nil {
		return err
	}
	t, err := s.disk.temp()
	if err != nil {
		return err
	}
	defer s.disk.discard(t)
	h := sha256.New()
	buf := make([]byte, chunkSize)
	for off := int64(0); off < size; {
		n := min(size-off, chunkSize)
		if err := p.wait(ctx, int(n)); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf[:n]); err != nil {
			return err
		}
		h.Write(buf[:n])
		if _, err := t.Write(buf[:n]); err != nil {
			return s.disk.note(err)
		}
		off += n
	}
	if catalog.Sum(h.Sum(nil)) != sum {
		return fmt.Errorf("store: body %s as sent by the member: %w", sum, errDamaged)
	}
	return s.saveTemp(t, sum, size)
}

// fetchSmall serves from memory even when the disk takes nothing more.
func (s *Store) fetchSmall(c io.Reader, sum catalog.Sum, size int64) error {
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	if sha256.Sum256(body) != sum {
		return fmt.Errorf("store: body %s as sent by the member: %w", sum, errDamaged)
	}
	s.cache.put(sum, body)
	if err := s.disk.room(size); err != nil {
		return err
	}
	return s.saveBytes(sum, body)
}
