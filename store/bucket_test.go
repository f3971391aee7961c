package store

import (
	"bytes"
	"errors"
	"testing"

	"rain/store/catalog"
)

func TestMinSurvives(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	s := nodes[0].s
	if created, err := s.MakeBucket(t.Context(), "safe", BucketSpec{Code: Code{4, 2}, MinSurvives: 2}); !created || err != nil {
		t.Fatal(created, err)
	}
	if created, err := s.MakeBucket(t.Context(), "safe", BucketSpec{}); created || err != nil {
		t.Errorf("again without wishes: %v, %v", created, err)
	}
	if _, err := s.MakeBucket(t.Context(), "safe", BucketSpec{Code: Code{4, 3}}); !errors.Is(err, ErrOtherBucket) {
		t.Errorf("again with others: %v", err)
	}
	for _, bad := range []BucketSpec{
		{Code: Code{6, 4}}, {Code: Code{4, 3}, MinSurvives: 2}, {MinSurvives: 3}, {MinSurvives: -1}, {MinSurvives: 99},
	} {
		if _, err := s.MakeBucket(t.Context(), "bad", bad); !errors.Is(err, ErrBadCode) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if i, err := s.Bucket("safe"); err != nil || i != (BucketInfo{Name: "safe", N: 4, K: 2, Own: true, MinSurvives: 2}) {
		t.Errorf("bucket %+v, %v", i, err)
	}
	put := func(size int) error {
		_, _, err := s.Put(t.Context(), "safe", "k", bytes.NewReader(randomBody(1, size)), PutOptions{})
		return err
	}
	for _, size := range []int{100, 200 << 10} {
		if err := put(size); err != nil {
			t.Errorf("%d bytes with all up: %v", size, err)
		}
	}
	// A member that dies unseen while it is put: not enough took it.
	c.crash(nodes[3])
	if err := put(300 << 10); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with a dead member: %v", err)
	}
	c.kill(nodes[3])
	if err := put(200<<10 + 1); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTooWeak) {
		t.Errorf("with a member away: %v", err)
	}
	if err := put(10); err != nil {
		t.Errorf("a small one survives two of three: %v", err)
	}
	c.kill(nodes[2])
	if err := put(10); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a small one on two nodes: %v", err)
	}
	// A bucket whose promise the layout can no longer keep is refused outright.
	op, err := catalog.EncodeBucket("never", 4, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.propose(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(t.Context(), "never", "k", bytes.NewReader(randomBody(1, 200<<10)), PutOptions{}); !errors.Is(err, ErrTooWeak) {
		t.Errorf("a promise that cannot be kept: %v", err)
	}
	if err := s.RemoveStorage(t.Context(), nodes[1].id); !errors.Is(err, ErrLayout) || !errors.Is(err, ErrBadCode) {
		t.Errorf("a layout too small for the bucket: %v", err)
	}
}
