package store

import (
	"context"
	"errors"
	"fmt"

	"rain/store/array"
	"rain/store/catalog"
)

// BucketSpec is what a bucket is made with; the zero one is the cluster's own way.
type BucketSpec struct {
	Code Code // of larger objects; zero: by the number of storage nodes
	// MinSurvives is how many nodes may be lost right after a put with the
	// object whole; a put that cannot promise it is refused. 0: no demand.
	MinSurvives int
}

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name        string `json:"bucket"`
	N           int    `json:"n"` // code of a new object over 64 KiB
	K           int    `json:"k"`
	Own         bool   `json:"own_code"` // the code is the bucket's own, not the cluster's
	MinSurvives int    `json:"min_survives"`
	Objects     int    `json:"objects"`
}

// Errors of buckets' promises.
var (
	ErrBadCode     = errors.New("the code is not possible here")
	ErrTooWeak     = errors.New("objects here can never survive as many losses as the bucket demands")
	ErrOtherBucket = errors.New("the bucket is there and was made otherwise; take another name")
)

// MakeBucket makes a bucket; one that is there with the same specification, or
// any if spec is zero, is left as it is.
func (s *Store) MakeBucket(ctx context.Context, name string, spec BucketSpec) (created bool, err error) {
	if err := spec.check(); err != nil {
		return false, err
	}
	op, err := catalog.EncodeBucket(name, uint16(spec.Code.N), uint16(spec.Code.K), uint8(spec.MinSurvives))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrBadName, err)
	}
	if s.table.Now().HasBucket(name) {
		return false, s.sameBucket(name, spec) // buckets never go
	}
	if err := s.possible(spec, len(s.storage())); err != nil {
		return false, fmt.Errorf("store: make bucket %s: %w", name, err)
	}
	if err := s.ready(); err != nil {
		return false, fmt.Errorf("store: make bucket %s: %w", name, err)
	}
	res, err := s.propose(ctx, op)
	if err != nil {
		return false, fmt.Errorf("store: make bucket %s: %w", name, err)
	}
	if res.Outcome == catalog.Exists { // somebody was faster
		return false, s.sameBucket(name, spec)
	}
	return true, nil
}

// check finds what is wrong with a specification anywhere.
func (b BucketSpec) check() error {
	if err := checkCode(b.Code.N, b.Code.K); err != nil {
		return err
	}
	most := catalog.MaxColumns - 1
	if b.Code.N > 0 {
		most = b.Code.N - b.Code.K
	}
	if b.MinSurvives < 0 || b.MinSurvives > most {
		return fmt.Errorf("store: min_survives %d: %w: 0 to %d losses can be asked of code %s", b.MinSurvives, ErrBadCode, most, b.Code)
	}
	return nil
}

func (s *Store) sameBucket(name string, spec BucketSpec) error {
	if spec == (BucketSpec{}) {
		return nil
	}
	i, _ := s.table.Now().Bucket(name)
	is := BucketSpec{Code{int(i.N), int(i.K)}, int(i.MinSurvives)}
	if is == spec {
		return nil
	}
	return fmt.Errorf("store: bucket %s has code %s and min_survives %d, asked for were %s and %d: %w",
		name, is.Code, is.MinSurvives, spec.Code, spec.MinSurvives, ErrOtherBucket)
}

// possible reports whether that many storage nodes can keep what is promised.
func (s *Store) possible(spec BucketSpec, nodes int) error {
	c := spec.Code
	if c == (Code{}) {
		c = s.clusterCode(nodes)
	}
	switch {
	case c.N > nodes:
		return fmt.Errorf("code %s needs %d storage nodes, the layout has %d: %w; add nodes ('rainctl layout add'), or take a code of at most %d columns",
			c, c.N, nodes, ErrBadCode, nodes)
	case spec.MinSurvives > c.N-c.K:
		return fmt.Errorf("min_survives %d with code %s, which survives %d losses: %w; take a code with more parities, or add nodes",
			spec.MinSurvives, c, c.N-c.K, ErrBadCode)
	}
	return nil
}

// clusterCode is the code of buckets without one of their own.
func (s *Store) clusterCode(nodes int) Code {
	if s.cfg.Code.N > 0 {
		return s.cfg.Code
	}
	g := array.Auto(nodes)
	return Code{g.N, g.K}
}

// Bucket describes a user's bucket.
func (s *Store) Bucket(name string) (BucketInfo, error) {
	if err := catalog.CheckBucket(name); err != nil {
		return BucketInfo{}, fmt.Errorf("%w: %w", ErrBadName, err)
	}
	i, ok := s.table.Now().Bucket(name)
	if !ok {
		return BucketInfo{}, fmt.Errorf("store: bucket %s: %w", name, ErrNoBucket)
	}
	g := s.codeFor(name, len(s.storage()))
	return BucketInfo{Name: name, N: g.N, K: g.K, Own: i.N > 0, MinSurvives: int(i.MinSurvives), Objects: i.Objects}, nil
}

// demand is how many losses an object of the bucket must survive when it is put.
func (s *Store) demand(bucket string) int {
	i, _ := s.table.Now().Bucket(bucket)
	return int(i.MinSurvives)
}

// promise reports whether a put on such nodes, of which some are up, can survive
// as many losses as its bucket demands. It says what to do if not.
func promise(bucket string, demand, nodes, k, up int) error {
	switch {
	case demand == 0:
		return nil
	case nodes-k < demand:
		return fmt.Errorf("bucket %s demands that an object survives %d losses; on %d nodes, any %d of which give it back, it survives %d at best: %w; add storage nodes or use another bucket",
			bucket, demand, nodes, k, nodes-k, ErrTooWeak)
	case up-k < demand:
		return fmt.Errorf("bucket %s demands that an object survives %d losses; now %d of its %d nodes are up, so it would survive %d: %w; bring nodes back and try again",
			bucket, demand, up, nodes, max(up-k, 0), ErrUnavailable)
	}
	return nil
}

// unkept tells a put's failure in the words of the demand, if that is its reason.
func unkept(bucket string, demand int, err error) error {
	if err == nil || demand == 0 || !errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("bucket %s demands that an object survives %d losses, and too few nodes took it: %w", bucket, demand, err)
}
