package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"rain/ring"
	"rain/store/catalog"
)

// Put stores a body under a key. It returns the new version and whether the key
// is new. The body is read once, to its end or to the first error.
func (s *Store) Put(ctx context.Context, bucket, key string, body io.Reader, opt PutOptions) (Info, bool, error) {
	info, created, err := s.put(ctx, bucket, key, body, opt)
	if err != nil {
		s.putFailures.Add(1)
		return Info{}, false, fmt.Errorf("store: put %s/%s: %w", bucket, key, err)
	}
	s.puts.Add(1)
	return info, created, nil
}

func (s *Store) put(ctx context.Context, bucket, key string, body io.Reader, opt PutOptions) (Info, bool, error) {
	p := &Prepared{Bucket: bucket, Key: key}
	if err := s.prepare(ctx, p, body, opt, true); err != nil {
		return Info{}, false, err
	}
	res, err := s.propose(ctx, p.Op)
	if err != nil {
		return Info{}, false, err
	}
	return s.putInfo(p, res), res.Outcome == catalog.Created, nil
}

// prepare brings the body to the members and makes the op; with early it
// refuses at once what the condition would.
func (s *Store) prepare(ctx context.Context, p *Prepared, body io.Reader, opt PutOptions, early bool) error {
	cond := catalog.Cond{IfAbsent: opt.IfAbsent, IfMatch: opt.IfMatch}
	announced, err := s.checkPut(ctx, p.Bucket, p.firstKey(), cond, opt, early)
	if err != nil {
		return err
	}
	members := s.ring.Members()
	p.rec = catalog.Record{
		Modified: s.now().Unix(), N: uint16(len(members)), K: 1,
		Type: opt.ContentType, Meta: opt.Meta,
	}
	// Encode once before the body comes, so that bad metadata costs no body.
	if _, err := p.encode(cond); err != nil {
		return fmt.Errorf("%w: %w", ErrBadMeta, err)
	}
	head := make([]byte, smallBody+1)
	n, whole, err := readChunk(body, head)
	if err != nil {
		return err
	}
	if whole {
		if err := checkSize(int64(n), opt.Size); err != nil {
			return err
		}
		p.rec.Size = int64(n)
		p.rec.Sum, p.stored, err = s.placeSmall(ctx, p.Bucket, members, bytes.Clone(head[:n]), announced)
	} else {
		p.stored, err = s.placeStriped(ctx, &p.rec, p.Bucket, head, body, opt.Size, announced)
	}
	if err != nil {
		return err
	}
	p.Op, err = p.encode(cond)
	return err
}

// checkPut finds what can be refused before the body comes.
func (s *Store) checkPut(ctx context.Context, bucket, key string, cond catalog.Cond, opt PutOptions, early bool) (announced *catalog.Sum, err error) {
	if err := checkNames(bucket, key); err != nil {
		return nil, err
	}
	if opt.Size > s.cfg.MaxObject {
		return nil, s.tooLarge()
	}
	if opt.SHA256 != "" {
		b, err := hex.DecodeString(opt.SHA256)
		if err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("sha256 %.80q is not 64 hex digits: %w", opt.SHA256, ErrBadBody)
		}
		announced = (*catalog.Sum)(b)
	}
	if err := s.waitReady(ctx); err != nil {
		return nil, err
	}
	// What this member has applied holds every op that was acknowledged, so a
	// refusal by it is a right answer.
	v := s.table.Now()
	if !v.HasBucket(bucket) {
		return nil, ErrNoBucket
	}
	if early && !cond.Holds(v.Get(bucket, key)) {
		return nil, ErrPrecondition
	}
	return announced, s.disk.room(opt.Size)
}

func (s *Store) tooLarge() error {
	return fmt.Errorf("%w: at most %d bytes are allowed", ErrTooLarge, s.cfg.MaxObject)
}

func checkSize(got, want int64) error {
	if want > 0 && got != want {
		return fmt.Errorf("body has %d bytes, announced were %d: %w", got, want, ErrBadBody)
	}
	return nil
}

// placeSmall brings a body in memory to the disks of the members.
func (s *Store) placeSmall(ctx context.Context, bucket string, members []ring.NodeID, body []byte, announced *catalog.Sum) (catalog.Sum, int, error) {
	if int64(len(body)) > s.cfg.MaxObject {
		return catalog.Sum{}, 0, s.tooLarge()
	}
	sum := catalog.Sum(sha256.Sum256(body))
	if announced != nil && *announced != sum {
		return sum, 0, fmt.Errorf("body has sha256 %s, announced was %s: %w", sum, announced, ErrBadBody)
	}
	demand := s.demand(bucket)
	if err := promise(bucket, demand, len(union(s.storage(), members)), 1, len(members)); err != nil {
		return sum, 0, err
	}
	f := s.newFanout(ctx)
	defer f.close()
	f.least = 1 + demand
	f.start(members, func(ctx context.Context, m ring.NodeID) error { return s.sendSmall(ctx, m, sum, body) })
	f.run(s.ring.Self(), func() error { return s.saveBytes(sum, body) })
	if err := f.wait(ctx); err != nil {
		return sum, 0, unkept(bucket, demand, err)
	}
	s.noteLeftOut(catalog.Record{Sum: sum, Size: int64(len(body))}.Derive(), f)
	return sum, len(f.acked), nil
}

// readChunk fills buf or reads to the end of the body. Unlike io.ReadFull it
// tells a body's end from one that broke off: HTTP readers say
// io.ErrUnexpectedEOF for the latter.
func readChunk(body io.Reader, buf []byte) (n int, end bool, err error) {
	for idle := 0; n < len(buf); {
		r, err := body.Read(buf[n:])
		n += r
		switch {
		case err == io.EOF:
			return n, true, nil
		case err != nil:
			return n, false, fmt.Errorf("read body: %w: %w", ErrBadBody, err)
		case r > 0:
			idle = 0
		default:
			if idle++; idle > 100 {
				return n, false, fmt.Errorf("read body: %w: %w", ErrBadBody, io.ErrNoProgress)
			}
		}
	}
	return n, false, nil
}

// saveBytes writes a small body to this node's disk.
func (s *Store) saveBytes(sum catalog.Sum, body []byte) error {
	if s.present(sum, int64(len(body))) {
		s.cache.put(sum, body)
		return nil
	}
	t, err := s.disk.temp()
	if err != nil {
		return err
	}
	defer s.disk.discard(t)
	if _, err := t.Write(body); err != nil {
		return s.disk.note(err)
	}
	if err := s.saveTemp(t, sum, int64(len(body))); err != nil {
		return err
	}
	s.cache.put(sum, body)
	return nil
}

// saveTemp gives a written body its name and takes it in.
func (s *Store) saveTemp(t *temp, sum catalog.Sum, size int64) error {
	err := s.disk.commit(t, sum, func() bool {
		have, ok := s.bodies.claim(sum)
		return ok && have == size
	})
	if err != nil {
		return err
	}
	if have, ok := s.bodies.claim(sum); !ok || have != size {
		s.bodies.addPut(sum, size)
	}
	return nil
}

// present reports whether the body is on this node's disk, and keeps it there
// for the time of a put.
func (s *Store) present(sum catalog.Sum, size int64) bool {
	have, ok := s.bodies.claim(sum)
	if !ok {
		return false
	}
	n, err := s.disk.fs.size(s.disk.path(sum))
	if err == nil && n == have && have == size {
		return true
	}
	s.lose(sum, fmt.Errorf("store: body %s: %d bytes on disk, %d expected: %w", sum, n, have, errors.Join(err, errDamaged)))
	return false
}

// propose brings an op to the token and turns refusals into errors.
func (s *Store) propose(ctx context.Context, op []byte) (catalog.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ProposeTimeout)
	defer cancel()
	b, err := s.ring.Propose(ctx, op)
	for end := time.Now().Add(s.cfg.PeerStall); errors.Is(err, ring.ErrNotPrimary) && time.Now().Before(end); {
		// Nothing has happened yet; the token may be back in a moment.
		if !rest(ctx, viewPoll) {
			break
		}
		b, err = s.ring.Propose(ctx, op)
	}
	if err != nil {
		return catalog.Result{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	res, err := catalog.ParseResult(b)
	if err != nil {
		return catalog.Result{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return res, outcomeError(res)
}

// outcomeError is what a result means for who asked; nil: it was done.
func outcomeError(res catalog.Result) error {
	switch res.Outcome {
	case catalog.CondFailed:
		return ErrPrecondition
	case catalog.NoBucket:
		return ErrNoBucket
	case catalog.NoObject:
		return ErrNotFound
	case catalog.Malformed:
		return fmt.Errorf("%w: the members did not understand the op; run the same version of the program everywhere", ErrUnavailable)
	case catalog.TooMany:
		return fmt.Errorf("%w: there are %d buckets already", ErrBadName, catalog.MaxBuckets)
	}
	return nil
}
