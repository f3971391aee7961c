package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"rain/store/catalog"
)

// spool is a body that is coming in to a temporary file while others already
// read it. One goroutine writes and ends it; any number follow.
type spool struct {
	t *temp
	h hash.Hash

	mu   sync.Mutex
	more chan struct{} // closed and made anew when n, known or done change
	n    int64
	done bool
	err  error // with done
	sum  catalog.Sum
	// known: sum is right before the end (announced by the client, or done).
	known bool
}

var errAborted = errors.New("the body did not come in whole")

func newSpool(t *temp) *spool { return &spool{t: t, h: sha256.New(), more: make(chan struct{})} }

// announce says what the hash will be.
func (s *spool) announce(sum catalog.Sum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum, s.known = sum, true
	s.wake()
}

// wake tells followers; the lock is held.
func (s *spool) wake() {
	close(s.more)
	s.more = make(chan struct{})
}

func (s *spool) Write(p []byte) (int, error) {
	n, err := s.t.Write(p)
	if err != nil {
		return n, err
	}
	s.h.Write(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += int64(n)
	s.wake()
	return n, nil
}

// end closes the spool; err: it is not whole. It returns the hash.
func (s *spool) end(err error) catalog.Sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return s.sum
	}
	var sum catalog.Sum
	s.h.Sum(sum[:0])
	if err == nil && s.known && sum != s.sum {
		err = fmt.Errorf("store: body has sha256 %s, announced was %s: %w", sum, s.sum, ErrBadBody)
	}
	s.sum, s.known, s.done, s.err = sum, true, true, err
	s.wake()
	return sum
}

// state is what a follower sees.
type spoolState struct {
	n     int64
	done  bool
	known bool
	sum   catalog.Sum
}

// wait returns when ready is true of the state.
func (s *spool) wait(ctx context.Context, ready func(spoolState) bool) (spoolState, error) {
	for {
		s.mu.Lock()
		st, err, more := spoolState{s.n, s.done, s.known, s.sum}, s.err, s.more
		s.mu.Unlock()
		if err != nil {
			return st, fmt.Errorf("%w: %w", errAborted, err)
		}
		if ready(st) {
			return st, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

// readAt fills p from off on, as far as the body has come; it waits for at
// least one byte. io.EOF: the body ends at off.
func (s *spool) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	st, err := s.wait(ctx, func(st spoolState) bool { return st.done || st.n > off })
	if err != nil {
		return 0, err
	}
	if st.n <= off {
		return 0, io.EOF
	}
	return s.t.ReadAt(p[:min(int64(len(p)), st.n-off)], off)
}
